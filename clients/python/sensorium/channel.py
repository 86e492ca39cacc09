"""Opens channels and makes calls: one set of options and one translation of errors for clients and services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from sensorium.status import from_rpc_error

if TYPE_CHECKING:
    from google.protobuf.message import Message

_Request = TypeVar("_Request", bound="Message")
_Response = TypeVar("_Response", bound="Message")

Metadata = Sequence[tuple[str, str]]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # of the contract, both ways
# gRPC answers a larger message with a bare RESOURCE_EXHAUSTED before any code of ours sees it. Up to this size the
# server reads the message and says what is wrong with it.
WIRE_MESSAGE_BYTES = 2 * MAX_MESSAGE_BYTES


def open_channel(address: str, *, max_message_bytes: int = WIRE_MESSAGE_BYTES) -> grpc.aio.Channel:
    """Opens a channel; the caller closes it.

    A peer that comes back is found within about a second, and calls spread over all addresses of a name.

    address: any gRPC target, such as `localhost:8001` or `dns:///text:8001`.
    """
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1_000),  # also how long one attempt to connect may take
            ("grpc.max_reconnect_backoff_ms", 1_000),
            # A peer whose machine vanished is left within seconds, not at each call's deadline.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 3_000),
            ("grpc.http2.ping_timeout_ms", 3_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.dns_min_time_between_resolutions_ms", 1_000),
            ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
            ("grpc.enable_http_proxy", 0),  # a proxy of the environment is for the web, not for the mesh
        ],
    )


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
    request: _Request,
    *,
    timeout_s: float | None = None,
    metadata: Metadata = (),
) -> _Response:
    """Makes one unary call.

    timeout_s: what remains of the deadline; None leaves it to the server's default.

    Raises:
        SensoriumError: what the server refused, or why it could not be reached.
    """
    try:
        return await method(request, timeout=timeout_s, metadata=tuple(metadata))
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
