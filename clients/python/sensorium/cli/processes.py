"""Runs one service of a mesh as a child process: starts it, learns its port, waits until it serves, stops it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path

# What must be SERVING before a program of the mesh counts as ready, by the program's name.
GRPC_SERVICES: Mapping[str, str] = {
    "text": "sensorium.v1.TextEncoderService",
    "vision": "sensorium.v1.VisionEncoderService",
    "audio": "sensorium.v1.AudioEncoderService",
    "fusion": "sensorium.v1.FusionService",
    "orchestrator": "sensorium.v1.OrchestratorService",
}
_LAST_WORDS_S = 5.0
_ASK_S = 0.02  # between two questions to a service that does not serve yet; an answer takes it half a millisecond
_ANSWER_S = 2.0  # what an answer is waited for before the question is asked again
_ENCODER_NICE = 5  # a third of the orchestrator's share; refusals came within 9 ms instead of 106 (`make overload`)
_TAIL_LINES = 12  # enough for the sentence that says why, and what came before it


class MeshError(Exception):
    """A service of the mesh did not start, or its code is not here; the message says which and why."""


def code_root() -> Path:
    """Returns the folder that `services` is imported from.

    Raises:
        MeshError: only the SDK is installed, without the services.
    """
    try:
        spec = find_spec("services.orchestrator")
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise MeshError(
            "the services are not installed here, only the client; run this in a checkout of Sensorium "
            "(pip install -e '.[all]'), or use the container images"
        )
    return Path(spec.origin).parents[2]


class ServiceProcess:
    """One service as a child process; whoever starts it stops it.

    port, metrics_port: 0 until the child has said which it bound.
    log: the file with all that the child wrote.
    """

    def __init__(
        self,
        name: str,
        place: tuple[str, int, int],
        environ: Mapping[str, str],
        log: Path,
        on_exit: Callable[[ServiceProcess], None] | None = None,
    ) -> None:
        """Starts `python -m services.<name>`.

        place: the host, port and metrics port to listen on; port 0 lets it choose.
        environ: what is added to the environment of this process.
        on_exit: called from another thread once the child is gone, for whatever reason.

        Raises:
            MeshError: the services are not installed here.
        """
        root = str(code_root())
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        host, port, metrics_port = place
        flags = ["--host", host, "--port", str(port), "--metrics-port", str(metrics_port)]
        self.name, self.port, self.metrics_port, self.log = name, 0, 0, log
        log.parent.mkdir(parents=True, exist_ok=True)  # a cleaner of temporary folders may have been there
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            # -P: a folder `services` where the user stands must not be taken for ours
            [sys.executable, "-P", "-m", f"services.{name}", *flags],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C is for us, who stop the services in order
        )
        self.pid = self.process.pid
        if name != "orchestrator":
            _weigh_less(self.pid)
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._spoke = threading.Event()  # it has said its port, or is gone
        self._host, self._environ, self._on_exit = host, environ, on_exit
        self._pump = threading.Thread(target=self._keep_log, name=f"log-{name}", daemon=True)
        self._pump.start()

    @property
    def address(self) -> str:
        """Where it listens, for processes of this machine."""
        return f"127.0.0.1:{self.port}"

    def successor(self) -> ServiceProcess:
        """Starts the service again, on the ports that this one had."""
        place = (self._host, self.port, self.metrics_port)
        return ServiceProcess(self.name, place, self._environ, self.log, self._on_exit)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def wait_until_serving(self, timeout_s: float) -> None:
        """Waits, by its health, until the service can answer calls.

        Raises:
            MeshError: it ended, or was not ready in time; with the last lines of its log.
        """
        deadline = time.monotonic() + timeout_s
        if not self._spoke.wait(timeout_s):
            raise self._fault(f"did not listen within {timeout_s:.0f} s")
        if not self.port:
            self._pump.join(timeout=5)
            raise self._fault(f"ended with exit code {self.process.wait()}")
        problem = self._problem(deadline)
        if problem:
            self.terminate()
            self.wait(_LAST_WORDS_S)  # a service that gives up drains first, and then says why
            raise self._fault(problem)

    def terminate(self) -> None:
        """Asks the process to drain and end."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        """Waits until the process is gone, and kills it when the time is over."""
        try:
            self.process.wait(timeout=max(timeout_s, 0.001))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._pump.join(timeout=5)

    def tail(self) -> list[str]:
        """Returns the last lines that the process wrote, JSON ones shortened to level and message."""
        return [_readable(line) for line in list(self._tail)]

    def _problem(self, deadline: float) -> str:
        """Returns "" once the service is SERVING, else why it was not by the deadline.

        It asks over HTTP, which needs neither certificates nor tokens, whatever the service asks of its callers.
        """
        allowed_s = deadline - time.monotonic()
        while (remaining_s := min(deadline - time.monotonic(), _ANSWER_S)) > 0:
            if not self.is_running:
                return "ended before it was ready"
            connection = HTTPConnection("127.0.0.1", self.metrics_port, timeout=remaining_s)
            with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):
                connection.request("GET", "/readyz")
                if connection.getresponse().status == HTTPStatus.OK:
                    return ""
            time.sleep(min(_ASK_S, remaining_s))  # whether it is gone, or slow, shows in the next turn
        return f"was not ready within {allowed_s:.0f} s"

    def _fault(self, what: str) -> MeshError:
        lines = "".join(f"\n  | {line}" for line in self.tail())
        return MeshError(f"the {self.name} service {what}; its log is {self.log}, and ends with:{lines}")

    def _keep_log(self) -> None:
        """Copies what the child writes to its file, and notes the ports that it names, until the child is gone."""
        assert self.process.stdout is not None
        with self.process.stdout as lines, self.log.open("ab", buffering=0) as file:
            for line in lines:
                file.write(line)
                self._tail.append(line.decode(errors="replace").rstrip())
                if not self._spoke.is_set():
                    self._note_ports(line)
        self.process.wait()
        self._spoke.set()
        if self._on_exit is not None:
            self._on_exit(self)

    def _note_ports(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return
        if isinstance(record, dict) and record.get("message") == "serving":
            self.port, self.metrics_port = int(record["port"]), int(record["metrics_port"])
            self._spoke.set()


def _weigh_less(pid: int) -> None:
    """Lets the scheduler favour the orchestrator over a process, where it shares the machine by session (Linux).

    An encoder has many threads, the orchestrator one that matters: with equal shares it comes late to refusing what is
    too much. What has the machine for itself, or is in a container, feels nothing of this.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_ENCODER_NICE))


def _readable(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict) or "message" not in record:
        return line
    return f"{record.get('level', 'info')}: {record['message']}"
