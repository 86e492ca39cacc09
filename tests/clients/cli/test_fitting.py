"""Tables for people and for pipes: no name or hash is ever broken."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sensorium.cli.output import console, table

NAMES = ("sentence-transformers-all-MiniLM-L6-v2@1", "8f3a1c5d9e7b2460", "Apache License 2.0 with an exception")


def printed(width: int) -> str:
    rows = table("model", "fingerprint", "licence")
    rows.add_row(*NAMES)
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(rows)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 66, 80, 120])
def test_no_terminal_is_so_narrow_that_a_name_or_hash_breaks(width: int) -> None:
    shown = printed(width)
    assert NAMES[0] in shown
    for title, value in (("fingerprint", NAMES[1]), ("licence", "exception")):
        is_hidden = title in shown.partition("also shows")[2]
        assert is_hidden != (value in shown)
    assert all(len(line) <= width for line in shown.splitlines())


def test_a_narrow_terminal_gets_fewer_columns_and_says_which() -> None:
    assert "(a wider terminal also shows: fingerprint, licence)" in " ".join(printed(50).split())


def test_a_row_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("model", "remarks")
    rows.add_row(NAMES[0], "words " * 60)
    console().print(rows)
    assert len(capsys.readouterr().out.splitlines()) == 2
