"""`sensorium doctor`: looks at a deployment from a client's side, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from rich.text import Text

import sensorium
from sensorium.channel import open_channel
from sensorium.cli import options
from sensorium.cli.connection import authorized
from sensorium.cli.diagnosis.calls import check_health, check_mesh, check_token
from sensorium.cli.diagnosis.finding import Finding
from sensorium.cli.diagnosis.reach import Tls, check_clock, check_tls, connect, resolve
from sensorium.cli.diagnosis.trial import check_modalities
from sensorium.cli.failures import OK, SOME_FAILED, UsageFault
from sensorium.cli.login import current_login
from sensorium.cli.output import console, print_json, table
from sensorium.errors import InvalidInput
from sensorium.handshake import SocketAddress
from sensorium.targets import Target, read_target
from sensorium.v1.content_pb2 import Modality
from sensorium.v1.orchestrator_pb2 import DescribeResponse

EPILOG = options.examples(
    "sensorium doctor",
    "sensorium doctor --address mesh.example:8001 --ca ca.pem --token @token",
    "sensorium doctor --json | jq '.[] | select(.state == \"failed\")'",
    "kubectl exec deploy/orchestrator -- sensorium doctor   (from inside of the cluster)",
)
_STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}

_MetricsPort = Annotated[
    int, typer.Option(min=1, max=65_535, help="HTTP port of the same host, from which its clock is read.")
]


def doctor(
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long one check may take.")] = 5.0,
    metrics_port: _MetricsPort = 8002,
) -> None:
    """Check a deployment step by step: name, port, TLS, clock, token, health, peers, models, spaces, a real inference.

    Each check that fails says what to do. Exits with 1 if one failed; warnings do not count.
    """
    try:
        target = read_target(address)
    except ValueError as fault:
        raise UsageFault(f"--address: {fault}") from None
    findings = diagnose(address, target, timeout, metrics_port)
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        _show(findings)
    raise typer.Exit(SOME_FAILED if any(finding.state == "failed" for finding in findings) else OK)


def diagnose(address: str, target: Target, timeout_s: float, metrics_port: int) -> list[Finding]:
    """Returns what every check found, in the order in which a call would come upon it; ends where none can go on."""
    findings, is_open = _reached(target, timeout_s)
    if not is_open:
        return findings
    if target.hosts:
        findings.append(check_clock(target.hosts[0][0], metrics_port, timeout_s))
    return findings + asyncio.run(_called(address, timeout_s))


def _reached(target: Target, timeout_s: float) -> tuple[list[Finding], bool]:
    """Returns what was found on the way to the server, and whether calls can be tried."""
    if not target.hosts:
        return [Finding("address", "skipped", f"{target.scheme}: not looked at below gRPC")], True
    findings: list[Finding] = []
    addresses: list[SocketAddress] = []
    for each, its_port in target.hosts:
        finding, found = resolve(each, its_port)
        findings.append(finding)
        addresses.extend(found)
    if not addresses:
        return findings, False
    finding, first = connect(addresses, timeout_s)
    findings.append(finding)
    if first is None:
        return findings, False
    login = current_login()
    tls = check_tls(first, target.hosts[0][0], Tls(login.get("ca"), login.get("cert"), login.get("key")), timeout_s)
    return [*findings, tls], tls.state != "failed"


async def _called(address: str, timeout_s: float) -> list[Finding]:
    """Returns what calls found."""
    try:
        credentials, metadata = authorized(address)
    except InvalidInput as fault:
        return [Finding("token", "failed", str(fault), "see --token, --ca, --cert, --key, --insecure-token")]
    async with open_channel(address, credentials=credentials) as channel:
        findings, is_there = await check_health(channel, timeout_s)
        if not is_there:
            return findings
        token, mesh = await check_token(channel, metadata, timeout_s)
    findings.append(token)
    if mesh is None:
        return findings
    findings += check_mesh(mesh, version("sensorium"))
    async with sensorium.AsyncClient(address, max_tries=1, **current_login()) as client:  # to see refusals
        return findings + await check_modalities(client, _served(mesh), timeout_s)


def _served(mesh: DescribeResponse) -> dict[Modality.ValueType, str]:
    """Returns a space for each modality that can be embedded now: the first that takes it, which the default one is."""
    spaces: dict[Modality.ValueType, str] = {}
    for space in mesh.spaces:
        for modality in space.modalities:
            spaces.setdefault(modality, space.name)
    return spaces


def _show(findings: Sequence[Finding]) -> None:
    rows = table("check", "", "found", "ms#")
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        ms = "" if finding.ms is None else f"{finding.ms:.1f}"
        rows.add_row(finding.check, state, Text(finding.found), ms)
        if finding.fix:
            rows.add_row("", "", Text(f"→ {finding.fix}", style="bold"), "")
    out = console()
    out.print(rows)
    counts = {state: sum(finding.state == state for finding in findings) for state in ("failed", "warning")}
    out.print(f"\n{counts['failed']} failed, {counts['warning']} to look at, of {len(findings)} checks")
