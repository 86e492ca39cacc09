"""The contract's page says what the protos say, and a generic client needs nothing but the server's reflection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    with running_mesh(log_dir=tmp_path) as mesh:
        text = next(service.address for service in mesh.services if service.name == "text")
        embedded = _called(mesh.address, "OrchestratorService", "Embed", {"contents": [{"text": "three"}]})
        encoded = _called(text, "TextEncoderService", "EncodeText", {"texts": ["three"]})
    (vector,), (same,) = ([result["embedding"] for result in each["results"]] for each in (embedded, encoded))
    assert vector["space"] == "tiny@1"
    assert sum(value**2 for value in vector["values"]) == pytest.approx(1)
    assert same == vector


def _called(address: str, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """Calls a method with what the server's reflection says of it, and returns the answer. Any: protobuf's JSON."""
    with insecure_channel(address) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        name = f"sensorium.v1.{service}"
        assert name in known.get_services()
        described = DescriptorPool(known).FindServiceByName(name).methods_by_name[method]
        call: UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            f"/{name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        message = json_format.ParseDict(request, GetMessageClass(described.input_type)())
        return json_format.MessageToDict(call(message, timeout=10))
