"""What is not there is wrong usage, whatever the command: exit code 2, and its name is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.cli import main

COMMANDS = [
    ("models", "add", "./missing", "--name", "x"),
    ("models", "verify", "./missing"),
    ("models", "verify", "tiny-text", "--golden", "./missing"),
    ("models", "quantize", "./missing", "--inputs", __file__),
    ("models", "quantize", "tiny-text", "--inputs", "./missing"),
    ("evaluate", "./missing"),
    ("embed", "-i", "./missing"),
    ("compare", "words", "--with", "./missing.png"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_or_folder_that_is_not_there_is_wrong_usage(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert "missing" in capsys.readouterr().err


def test_a_flag_of_a_service_that_is_misspelt_gets_the_one_that_was_meant() -> None:
    command = [sys.executable, "-m", "sensorium.cli", "serve", "text", "--prot", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 2
    assert "there is no flag --prot; did you mean --port?" in done.stderr
