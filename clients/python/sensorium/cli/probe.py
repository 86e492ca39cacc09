"""`sensorium probe`: one health check with an exit code, for HEALTHCHECK and exec probes.

It runs every few seconds in every container, so it imports gRPC and the health stubs only, and nothing else of ours:
the images run this file alone, `python -P probe.py`, which takes a quarter of the time of the whole command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

HEALTHY, UNHEALTHY = 0, 1

# Short names of the services whose readiness is asked for; any other name is taken as it is.
SERVICES = {
    "text": "sensorium.v1.TextEncoderService",
    "vision": "sensorium.v1.VisionEncoderService",
    "audio": "sensorium.v1.AudioEncoderService",
    "fusion": "sensorium.v1.FusionService",
    "orchestrator": "sensorium.v1.OrchestratorService",
}

_EVERYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104  # what a server listens on, not what we bind

_DESCRIPTION = """Ask a server whether it lives, or whether one of its services can answer.

Without --service any answer will do: a server that drains or waits for its peers lives, and must not be killed for it.
Exit code 0: healthy; 1: not, and one line says why; 2: wrong usage."""

_EPILOG = """examples:
  sensorium probe                                      does the server of this container live?
  sensorium probe --service text                       can it answer?
  sensorium probe dns:///vision:8001 --service vision --timeout 1
  sensorium probe mesh.example.com:443 --ca system --service orchestrator

Beside a server that speaks TLS (SENSORIUM_TLS_CERT is set), and without an address, the probe trusts that server's
certificate and shows it as its own; the certificate must be valid for localhost, or for --server-name."""


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Asks once, prints one line, and returns 0 healthy or 1 not; wrong usage exits with 2.

    argv: the arguments; None takes those of the process.
    """
    parser = _parser(environ)
    given = parser.parse_args(argv)
    if bool(given.cert) != bool(given.key):
        parser.error("--cert and --key are given together")
    address, roots, pair = _own(environ) if given.address is None else (given.address, (), ())
    roots, pair = (given.ca,) if given.ca else roots, (given.key, given.cert) if given.cert else pair
    if pair and not roots:
        parser.error("a certificate is shown over TLS only: give --ca, a file or `system`")
    try:
        credentials = _credentials(roots, pair)
    except OSError as fault:
        return _tell(address, f"{fault.filename} cannot be read: {fault.strerror}")
    service = SERVICES.get(given.service, given.service)
    return _tell(address, check(address, service, given.timeout, credentials, given.server_name))


def check(
    address: str,
    service: str = "",
    timeout_s: float = 2.0,
    credentials: grpc.ChannelCredentials | None = None,
    server_name: str = "",
) -> str:
    """Returns why a server is not healthy, or an empty text where it is.

    service: full name of the gRPC service that must be able to answer; empty: the process must live.
    credentials: of TLS; None speaks plain text.
    server_name: the name that the server's certificate must be valid for; empty: the address's.
    """
    import grpc  # here, so that --help and wrong usage do not load it
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    # A proxy named in the environment is for calls to the outside.
    options: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    channel = (
        grpc.insecure_channel(address, options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    )
    with channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # Any: its methods are not typed
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    if not service or answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{service} is {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _own(environ: Mapping[str, str]) -> tuple[str, Sequence[str], Sequence[str]]:
    """Returns address, files of trusted certificates, and key and certificate to show, of the server next to us."""
    host, port = environ.get("SENSORIUM_HOST", ""), environ.get("SENSORIUM_PORT") or "8001"
    cert, key = environ.get("SENSORIUM_TLS_CERT"), environ.get("SENSORIUM_TLS_KEY")
    if not cert or not key:
        return f"{'127.0.0.1' if host in _EVERYWHERE else host}:{port}", (), ()
    # The certificate itself is trusted: which authority it is of, nobody here needs to know.
    return f"{'localhost' if host in _EVERYWHERE else host}:{port}", (cert,), (key, cert)


def _credentials(roots: Sequence[str], pair: Sequence[str]) -> grpc.ChannelCredentials | None:
    """Returns the credentials of TLS that trusts these files, or the public authorities for `system`; None without.

    Raises:
        OSError: a file cannot be read.
    """
    if not roots:
        return None
    trusted = None if list(roots) == ["system"] else b"\n".join(Path(each).read_bytes() for each in roots)
    key, cert = (Path(each).read_bytes() for each in pair) if pair else (None, None)
    import grpc  # as in `check`

    return grpc.ssl_channel_credentials(trusted, key, cert)


def _tell(address: str, fault: str) -> int:
    print(f"{address}: {fault or 'healthy'}", file=sys.stderr if fault else sys.stdout)
    return UNHEALTHY if fault else HEALTHY


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sensorium probe",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "address",
        nargs="?",
        help="gRPC target; default: the server of this container, by SENSORIUM_HOST, _PORT and _TLS_CERT",
    )
    parser.add_argument(
        "--service",
        default="",
        metavar="NAME",
        help=f"{', '.join(SERVICES)}, or the full name of a gRPC service: it must be able to answer",
    )
    parser.add_argument("--timeout", type=_seconds, default=2.0, metavar="S", help="seconds (default: %(default)s)")
    for name, help_text in (
        ("ca", "speak TLS; trust these authorities, or `system`"),
        ("cert", "show this certificate"),
        ("key", "its key"),
    ):
        variable = f"SENSORIUM_{name.upper()}"
        parser.add_argument(
            f"--{name}", default=environ.get(variable), metavar="FILE", help=f"{help_text} [{variable}]"
        )
    parser.add_argument("--server-name", default="", metavar="NAME", help="what the certificate must be valid for")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is out of range: above 0, up to 3600")
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
