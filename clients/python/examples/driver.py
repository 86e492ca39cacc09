"""The conformance driver of Python: makes the calls that it is given on stdin, and writes down what came of each.

It uses the generated stubs alone, as a caller would who does without the SDK. The protocol is in
clients/conformance/README.md. By hand: `python driver.py localhost:8001 < lines`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from sensorium.v1 import orchestrator_pb2 as messages
from sensorium.v1 import orchestrator_pb2_grpc as services

OPTIONS = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]
DETAILS = {
    kind.DESCRIPTOR.full_name
    for kind in (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)
}


def main() -> None:
    """Answers line by line until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--ca", type=Path, help="PEM file of the authority that the server's certificate leads to")
    parser.add_argument("--token", help="sent with every call")
    given = parser.parse_args()
    if given.ca:
        channel = grpc.secure_channel(given.address, grpc.ssl_channel_credentials(given.ca.read_bytes()), OPTIONS)
    else:
        channel = grpc.insecure_channel(given.address, OPTIONS)
    with channel:
        stub: Any = services.OrchestratorServiceStub(channel)  # Any: methods are looked up by their names
        for line in sys.stdin:
            print(json.dumps(answer(stub, json.loads(line), given.token)), flush=True)


def answer(stub: Any, asked: dict[str, Any], token: str | None) -> dict[str, Any]:
    """Makes one call and returns what came of it. Any: JSON."""
    method = asked["method"].rpartition("/")[2]
    service = messages.DESCRIPTOR.services_by_name["OrchestratorService"]
    kind: type[Message] = getattr(messages, service.methods_by_name[method].input_type.name)
    requests = [json_format.ParseDict(each, kind()) for each in asked["requests"]]
    metadata = list(asked.get("metadata", {}).items())
    if token := asked.get("token", token):
        metadata.append(("authorization", f"Bearer {token}"))
    options = {"timeout": asked["deadline_ms"] / 1000, "metadata": metadata}
    responses: list[Message] = []
    if method == "EmbedStream":
        # gRPC takes a request out of the iterator when there is room on the way: that is all of the flow control.
        call = stub.EmbedStream(iter(requests), **options)
        read_stream(call, responses, asked.get("cancel_after"))
    else:
        call = getattr(stub, method).future(requests[0], **options)
        if call.exception() is None:
            responses.append(call.result())
    trailing = pairs(call.trailing_metadata())
    return {
        "case": asked["case"],
        "status": call.code().name,
        "message": call.details() or "",
        "responses": [json_format.MessageToDict(each) for each in responses],
        "details": list(details(trailing)),
        "metadata": {k: v for k, v in (pairs(call.initial_metadata()) | trailing).items() if isinstance(v, str)},
    }


def read_stream(call: Any, responses: list[Message], cancel_after: int | None) -> None:
    """Reads answers to the end, or cancels the call once enough have come."""
    try:
        for response in call:
            responses.append(response)
            if len(responses) == cancel_after:
                call.cancel()
    except grpc.RpcError:
        pass  # the call itself tells the status


def details(trailing: dict[str, str | bytes]) -> Iterator[dict[str, Any]]:
    """Yields the details of a refusal that we know, as in the JSON mapping of Any."""
    rich = trailing.get("grpc-status-details-bin", b"")
    assert isinstance(rich, bytes)
    for detail in status_pb2.Status.FromString(rich).details:
        if detail.TypeName() in DETAILS:
            yield json_format.MessageToDict(detail)


def pairs(metadata: Sequence[tuple[str, str | bytes]] | None) -> dict[str, str | bytes]:
    """Returns metadata by its keys; a call that never reached the server has none."""
    return dict(metadata or ())


if __name__ == "__main__":
    main()
