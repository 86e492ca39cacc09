"""The contract's page says what the protos say, and a generic client needs nothing but the server's reflection."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import UnaryUnaryMultiCallable, insecure_channel
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from protos.contract import PAGE, described, page
from sensorium.cli.mesh import running_mesh


@pytest.fixture(scope="module")
def contract() -> FileDescriptorSet:
    return described()


def test_the_page_is_what_the_protos_say(contract: FileDescriptorSet) -> None:
    assert PAGE.read_text("utf-8") == page(contract), "run `make contract`"


def test_every_part_of_the_contract_is_explained(contract: FileDescriptorSet) -> None:
    for file in contract.file:
        explained = {tuple(each.path) for each in file.source_code_info.location if each.leading_comments.strip()}
        kinds = ((4, file.message_type), (5, file.enum_type), (6, file.service))
        named: list[tuple[int, ...]] = [(kind, at) for kind, parts in kinds for at in range(len(parts))]
        named += [(4, at, 2, field) for at, each in enumerate(file.message_type) for field in range(len(each.field))]
        named += [(5, at, 2, value) for at, each in enumerate(file.enum_type) for value in range(len(each.value))]
        named += [(6, at, 2, method) for at, each in enumerate(file.service) for method in range(len(each.method))]
        assert [path for path in named if path not in explained] == [], file.name


def test_a_generic_client_embeds_by_reflection_alone(tmp_path: Path) -> None:
    with running_mesh(log_dir=tmp_path) as mesh, insecure_channel(mesh.address) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        assert "sensorium.v1.OrchestratorService" in known.get_services()
        method = DescriptorPool(known).FindServiceByName("sensorium.v1.OrchestratorService").methods_by_name["Embed"]
        request = json_format.ParseDict({"contents": [{"text": "three"}]}, GetMessageClass(method.input_type)())
        call: UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        (result,) = json_format.MessageToDict(call(request, timeout=10))["results"]
    assert result["embedding"]["space"] == "tiny@1"
    assert sum(value**2 for value in result["embedding"]["values"]) == pytest.approx(1)
