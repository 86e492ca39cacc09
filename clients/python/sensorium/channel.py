"""Opens channels and makes calls: one set of options and one translation of errors for clients and services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from sensorium.balancing import service_config
from sensorium.errors import InternalError
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


# A peer that hangs, or whose machine vanished, is left within 2.5 s: a ping a second, and so long for its answer.
# gRPC's core (seen with 1.85) goes by the third of the three times; the second is for cores that know only that one.
_PING_EVERY_MS = 1_000
_PING_TIMEOUT_MS = 1_500


def open_channel(
    address: str,
    *,
    max_message_bytes: int = WIRE_MESSAGE_BYTES,
    credentials: grpc.ChannelCredentials | None = None,
    leave_draining: bool = False,
) -> grpc.aio.Channel:
    """Opens a channel; the caller closes it.

    Calls go in turn to all addresses of a name, around those that fail or hang, and what a replica that is going turns
    away is tried again where that does no harm: see `sensorium.balancing`. A peer that comes back is found within about
    a second.

    address: any gRPC target, such as `localhost:8001` or `dns:///text:8001`.
    credentials: of TLS; None speaks plain text.
    leave_draining: whether to watch the health of every address, and call none that drains. Not for proxies: behind one
        address there are many replicas then, of which the watch sees one.
    """
    options = _options(max_message_bytes, service_config(leave_draining=leave_draining))
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _options(max_message_bytes: int, config: str) -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # What a second try may need is kept until the answer begins; the default of 256 KiB holds hardly a photograph.
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),  # also how long one attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        ("grpc.service_config", config),
        ("grpc.enable_http_proxy", 0),  # a proxy of the environment is for the web, not for the mesh
    ]


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
        response: _Response | None = await method(request, timeout=timeout_s, metadata=tuple(metadata))
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    if response is None:  # how grpc.aio says that the bytes could not be parsed
        raise InternalError("the answer is no message of this method: is the server another one, or another version?")
    return response
