"""Tokens and TLS at the command line, and the tokens that it makes."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

import sensorium
from sensorium.credentials import channel_credentials, is_loopback
from sensorium.errors import InvalidInput
from shared.serving.auth import read_tokens
from tests.clients.cli.conftest import Run


def test_a_new_token_is_printed_once_and_its_line_lets_it_in(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    first = run("token", "new", "--tenant", "acme", "--file", str(file))
    second = run("token", "new", "--tenant", "ops", "--role", "admin", "--file", str(file))
    assert (first.code, first.err) == (0, "")
    known = read_tokens(str(file))
    for done, tenant, is_admin in ((first, "acme", False), (second, "ops", True)):
        token = done.out.strip()
        caller = known[hashlib.sha256(token.encode()).digest()][1]
        assert (caller.tenant, caller.is_admin) == (tenant, is_admin)
        assert token not in file.read_text()
    assert first.out != second.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_file_the_line_is_said_beside_the_token(run: Run) -> None:
    done = run("token", "new", "--tenant", "acme")
    assert f"acme user {hashlib.sha256(done.out.strip().encode()).hexdigest()}" in done.err
    assert run("token", "new", "--tenant", "two words").code == 2


def test_a_token_does_not_go_over_plain_text_to_another_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_TOKEN", "s3cret")
    done = run("status", "--address", "mesh.example:8001")
    assert done.code == 4
    assert "token: is not sent over plain text to another machine" in done.err
    assert "s3cret" not in done.out + done.err
    assert "s3cret" not in run("embed", "--help").out
    listed = run("models", "list", "--address", "mesh.example:8001")
    assert "token: is not sent over plain text" in listed.err


def test_a_token_may_stand_in_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "token"
    done = run("status", "--token", f"@{file}", "--address", "mesh.example:8001")
    assert (done.code, "cannot be read; is the file there?" in done.err) == (2, True)
    file.write_text("s3cret\n")
    done = run("status", "--token", f"@{file}", "--address", "mesh.example:8001")
    assert "token: is not sent over plain text" in done.err


def test_files_that_will_not_do_are_named(run: Run, tmp_path: Path) -> None:
    done = run("status", "--ca", str(tmp_path / "none.pem"))
    assert done.code == 4
    assert "ca: " in done.err
    assert "none.pem cannot be read: No such file" in done.err
    noise = tmp_path / "noise.pem"
    noise.write_text("hello")
    with pytest.raises(InvalidInput, match=r"ca: .*noise.pem holds no -----BEGIN"):
        channel_credentials(noise)
    with pytest.raises(InvalidInput, match="key: is missing"):
        channel_credentials("ca.pem", cert="a")
    with pytest.raises(InvalidInput, match="ca: is missing"):
        channel_credentials(cert="a", key="b")


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("localhost:8001", True),
        ("dns:///localhost:8001", True),
        ("127.0.0.9:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("[::1]:8001", True),
        ("unix:/run/mesh.sock", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("localhost.evil.test:8001", False),
        ("10.0.0.1:8001", False),
        ("dns://8.8.8.8/localhost:8001", False),
        ("http://localhost:8001", False),
        ("", False),
    ],
)
def test_what_this_machine_is(address: str, is_own: bool) -> None:  # pytest's
    assert is_loopback(address) is is_own


async def test_a_token_goes_to_another_machine_where_the_caller_says_so() -> None:
    with pytest.raises(InvalidInput, match="token: is not sent"):
        sensorium.AsyncClient("mesh.example:8001", token="s3cret")  # no secret
    async with sensorium.AsyncClient("mesh.example:8001", token="s3cret", insecure_token=True):  # no secret
        pass
    async with sensorium.AsyncClient("mesh.example:8001", token="s3cret", ca="system"):  # no secret
        pass
