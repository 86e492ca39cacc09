"""The commands and programs that the page shows: whole, and quoted so that they mean what was asked."""

from __future__ import annotations

import shlex

from sensorium.cli.demo.snippets import expressions, python, shell, strings
from tests.demo.tours import picture, sound, text


def test_a_command_says_the_same_after_the_shell_has_read_it() -> None:
    line = shell("compare", text("it's; rm -rf *"), picture("a dot", 7), "--with", "demo/inputs/*.png", "--text", "")

    words = shlex.split(line.replace("\\\n", " "))
    assert words[:4] == ["sensorium", "compare", "it's; rm -rf *", "demo/inputs/7.png"]
    assert words[4:] == ["--with", "demo/inputs/*.png", "--text", ""]


def test_a_long_command_goes_on_at_its_options() -> None:
    line = shell("classify", picture("a dot"), "--label", "a" * 40, "--label", "b" * 40)

    assert [part.split()[0] for part in line.splitlines()] == ["sensorium", "--label", "--label"]


def test_a_program_is_python() -> None:
    things = [text('say "seven"'), picture("a dot", 7), sound("a tone", 300.0)]

    program = python("audio, image, text", f"print({expressions(things)})", f"print({strings(['七', 'x' * 90])})")

    compile(program, "snippet", "exec")
    assert 'text("say \\"seven\\"")' in program
    assert 'audio(Path("demo/inputs/300.wav"))' in program
