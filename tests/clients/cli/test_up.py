"""`sensorium up` and the mesh below it: readiness, restarts, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import sensorium
from sensorium.cli.mesh import Mesh, MeshError, running_mesh
from sensorium.cli.processes import ServiceProcess
from sensorium.cli.securing import secured
from sensorium.cli.supervise import Supervisor
from sensorium.errors import FailedPrecondition, Unavailable
from tests.certificates import Authority
from tests.clients.cli.conftest import Run

SHIPPED = Path(__file__).resolve().parents[3] / "models"
_LINE = re.compile(r"(\w+): (.+) \(pid (\d+)(?:, port (\d+))?")


class Up:
    """A running `sensorium up`, read line by line; its end is forced where a test fails."""

    def __init__(self, log_dir: Path) -> None:
        ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else tests below `nohup` start a mesh below `nohup`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sensorium.cli", "up", "--port", "0", "--log-dir", str(log_dir)],
            stdout=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGHUP, ours)
        self.pids: set[int] = set()

    def until(self, *wanted: str) -> tuple[int, int]:
        """Reads up to the line that says so of a service; returns its pid and port."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = _LINE.match(line)
            if found:
                self.pids.add(int(found[3]))
                if found.groups()[:2] == wanted:
                    return int(found[3]), int(found[4] or 0)
        raise AssertionError(f"it ended before {wanted}")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    found = Up(tmp_path)
    try:
        yield found
    finally:
        found.process.terminate()
        found.process.wait(timeout=20)
        assert found.process.stdout is not None
        found.process.stdout.close()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_what_dies_is_started_again_on_its_port_and_sigterm_leaves_nothing_behind(up: Up, run: Run) -> None:
    pid, port = up.until("vision", "serving")
    _, face = up.until("orchestrator", "serving")

    os.kill(pid, signal.SIGKILL)
    up.until("vision", "died")
    again = up.until("vision", "serving")
    served = run("embed", "words", "--address", f"127.0.0.1:{face}")
    up.process.send_signal(signal.SIGTERM)

    assert again[1] == port
    assert again[0] != pid
    assert served.code == 0
    assert up.process.wait(timeout=20) == 0
    assert all(is_gone(each) for each in up.pids)
    assert len(up.pids) == 6


def test_a_ctrl_c_while_it_starts_leaves_nothing_behind(up: Up) -> None:
    up.until("fusion", "starting")
    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(timeout=20) == 0
    assert all(is_gone(each) for each in up.pids)


def test_a_closed_terminal_leaves_nothing_behind(up: Up) -> None:
    up.until("orchestrator", "serving")
    up.process.send_signal(signal.SIGHUP)

    assert up.process.wait(timeout=20) == 0
    assert len(up.pids) == 5
    assert all(is_gone(each) for each in up.pids)


def test_a_second_interrupt_while_the_mesh_stops_leaves_nothing_behind() -> None:
    found: list[ServiceProcess] = []

    def interrupt(service: ServiceProcess, state: str) -> None:
        if state == "stopping":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), running_mesh(on_state=interrupt) as mesh:
        found += mesh.services

    assert len(found) == 5
    assert all(is_gone(service.pid) for service in found)


def test_a_service_that_is_down_makes_exit_codes_and_the_others_go_on(run: Run) -> None:
    with running_mesh() as mesh:
        fusion = mesh.service("fusion")
        fusion.process.kill()
        fusion.wait(5.0)
        where = ["--address", mesh.address]

        fused = run("fuse", "words", "more", *where)
        embedded = run("embed", "words", *where)
        codes = {run("status", *where).code for _ in range(20)}

    assert fused.code == 3
    assert "fusion" in fused.err
    assert embedded.code == 0
    assert 1 in codes
    assert all(is_gone(service.pid) for service in mesh.services)
    assert not mesh.log_dir.exists()


def test_a_service_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path, run: Run) -> None:
    package = tmp_path / "models" / "tiny-text" / "1"
    package.mkdir(parents=True)
    shutil.copy(SHIPPED / "tiny-text" / "1" / "manifest.json", package)  # and none of its files

    with pytest.raises(MeshError, match=r"(?s)the text service ended.*cannot start: model package") as raised:
        running_mesh(tmp_path / "models", log_dir=tmp_path / "logs").__enter__()

    assert "Traceback" not in str(raised.value)
    assert (tmp_path / "logs" / "text.log").exists()


def test_a_service_that_no_package_is_for_is_left_out(tmp_path: Path) -> None:
    for name in ("tiny-text", "tiny-fusion"):
        (tmp_path / name).symlink_to(SHIPPED / name)
    told: list[tuple[str, str]] = []

    def note(service: ServiceProcess, state: str) -> None:
        told.append((service.name, state))

    with running_mesh(tmp_path, on_state=note) as mesh, sensorium.Client(mesh.address) as client:
        described = client.describe()
        embedded = client.embed([sensorium.text("words"), sensorium.image(b"no matter")])

    assert mesh.left_out == ["vision", "audio"]
    assert [service.name for service in described.services] == ["text", "fusion", "orchestrator"]
    assert set(embedded.errors) == {1}
    assert isinstance(embedded.errors[1], FailedPrecondition)
    end = [("orchestrator", "stopping"), ("orchestrator", "stopped"), ("text", "stopping"), ("fusion", "stopping")]
    assert told[-6:-2] == end, "its calls find the encoders to the last"


@pytest.mark.parametrize(("packages", "said"), [((), "no package of an encoder"), (None, "there is no folder")])
def test_models_that_make_no_mesh_are_said_before_anything_starts(
    tmp_path: Path, packages: tuple[str, ...] | None, said: str
) -> None:
    models = tmp_path if packages is not None else tmp_path / "nowhere"
    with pytest.raises(MeshError, match=said):
        running_mesh(models).__enter__()


def test_a_service_that_cannot_stay_up_is_given_up_after_bounded_tries(tmp_path: Path) -> None:
    states: list[str] = []

    def note(service: ServiceProcess, state: str) -> None:
        states.append(state)
        if state == "gave up":
            supervisor.events.put(None)

    supervisor = Supervisor(note, most_tries=2)
    environ = {"SENSORIUM_MODELS": str(tmp_path)}
    doomed = ServiceProcess("text", ("127.0.0.1", 0, 0), environ, tmp_path / "text.log", supervisor.events.put)
    mesh = Mesh("", [doomed], tmp_path)

    assert supervisor.keep(mesh)
    assert states == ["died", "starting", "died", "starting", "died", "gave up"]
    assert is_gone(mesh.services[0].pid)


def test_a_taken_port_is_said_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MeshError, match="is taken"):
            running_mesh(port=taken.getsockname()[1]).__enter__()


@pytest.mark.parametrize("command", ["up", "serve text", "models verify"])
def test_without_the_services_the_commands_that_need_them_say_so(command: str) -> None:
    paths = [str(Path(module.__file__ or "").parents[1]) for module in (sensorium, np)]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "sensorium.cli", *command.split()],  # -S: the editable install is not followed
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 3
    assert "the services are not installed here" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_secured_mesh_is_one_command_away_and_says_what_a_caller_lacks(tmp_path: Path, run: Run) -> None:
    security = secured(tmp_path / "tls", tmp_path / "tokens")
    with running_mesh(start_timeout_s=30.0, security=security) as mesh:
        address = f"localhost:{mesh.address.rpartition(':')[2]}"
        embedded = run("embed", "hello", "--address", address, *security.client, "--json")
        assert embedded.code == 0, embedded.err
        plain = run("embed", "hello", "--address", address)
        assert (plain.code, "the server speaks TLS" in plain.err, "--ca" in plain.err) == (3, True, True)
        other = Authority("another")
        (tmp_path / "other.pem").write_bytes(other.pem)
        wrong = run("embed", "hello", "--address", address, "--ca", tmp_path / "other.pem")
        assert (wrong.code, "of another authority" in wrong.err) == (3, True)
        nobody = run("embed", "hello", "--address", address, "--ca", tmp_path / "tls" / "ca.pem")
        assert (nobody.code, "send a token" in nobody.err) == (4, True)
        with (
            sensorium.Client(address) as client,
            pytest.raises(Unavailable, match=r"the server speaks TLS.*--ca FILE \(ca= in Python\)"),
        ):
            client.describe()
    again = secured(tmp_path / "tls", tmp_path / "tokens")
    assert again.client == security.client, "what is there is used again"


def test_a_client_of_tls_is_told_of_a_mesh_that_speaks_plain_text(mesh: Mesh, run: Run, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority("any").pem)
    told = run("status", "--address", mesh.address, "--ca", tmp_path / "ca.pem")
    assert (told.code, "the server does not speak TLS" in told.err) == (3, True)


def test_models_are_added_chosen_rolled_back_and_removed_while_the_mesh_runs(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    shutil.copytree(SHIPPED / "tiny-text", models / "tiny-text")
    export = Path(__file__).parents[2] / "conformance/st_bert_mean/model"
    monkeypatch.setenv("SENSORIUM_WATCH_S", "0.1")
    with running_mesh(models, start_timeout_s=30.0) as mesh:
        at = ("--address", mesh.address)
        for version in ("1", "2"):
            more = ("--space", f"ours@{version}", "--version", version)
            assert run("models", "add", export, "--name", "bert", *more, "--models", models).code == 0
        assert run("models", "load", "bert@1", *at).code == 0
        assert run("models", "load", "bert@2", *at).code == 0
        for model in ("bert@2", "bert@1"):  # rolled out, and back
            assert run("models", "default", model, *at).code == 0
            assert f"{model} (default)" in run("status", *at).out
        refused = run("models", "unload", "tiny-text", *at)
        assert refused.code == 0, "it is no default any more"
        assert run("models", "unload", "bert@2", *at).code == 0
        last = run("models", "unload", "bert@1", *at)
        assert (last.code, "sensorium models default NAME" in last.err) == (4, True)
        assert run("models", "remove", "bert@2", "--models", models).code == 0
        assert not (models / "bert/2").exists()
        assert run("models", "remove", "bert@2", "--models", models).code == 2
