"""The command line: `sensorium`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import typer

from sensorium.cli import (
    classify,
    compare,
    doctor,
    embed,
    evaluate,
    fuse,
    models,
    options,
    predict,
    probe,
    serve,
    status,
    token,
    tokenize,
    up,
    version,
)
from sensorium.cli.demo.command import EPILOG as DEMO_EPILOG
from sensorium.cli.demo.command import demo
from sensorium.cli.failures import UNAVAILABLE, USAGE, UsageFault, code_of, say
from sensorium.cli.login import with_login
from sensorium.cli.processes import MeshError
from sensorium.errors import SensoriumError

_HELP = """Models as a service for text, pictures and sound: embed anything, compare anything with anything.

Start a mesh with `sensorium up`, and call it from another terminal."""

_EPILOG = options.examples(
    "sensorium up",
    'sensorium compare "a red circle" --with red.png --with blue.png',
    "sensorium classify photo.jpg --label cat --label dog",
    "sensorium embed 'pictures/*.png' --npy pictures.npy",
)


# The probe reads its own arguments, because it also runs without typer, which takes longer to import than the check.
_AS_THEY_ARE = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def _probe(context: typer.Context) -> None:
    """Ask a server for its health, for HEALTHCHECK and exec probes; exit 0 healthy, 1 not."""
    raise typer.Exit(probe.main(context.args))


def build() -> typer.Typer:
    """Returns the command line with all its commands."""
    app = typer.Typer(
        name="sensorium",
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,  # what users can cause is said in one line; the rest is a bug, in full
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(epilog=up.EPILOG)(up.up)
    app.add_typer(serve.app)
    app.command(epilog=DEMO_EPILOG)(demo)
    app.command(epilog=embed.EPILOG)(with_login(embed.embed))
    app.command(epilog=compare.EPILOG)(with_login(compare.compare))
    app.command(epilog=classify.EPILOG)(with_login(classify.classify))
    app.command(epilog=evaluate.EPILOG)(with_login(evaluate.evaluate))
    app.command(epilog=fuse.EPILOG)(with_login(fuse.fuse))
    app.command(epilog=predict.EPILOG)(with_login(predict.predict))
    app.command(epilog=tokenize.EPILOG)(with_login(tokenize.tokenize))
    app.command(epilog=status.EPILOG)(with_login(status.status))
    app.command(epilog=doctor.EPILOG)(with_login(doctor.doctor))
    app.command("probe", context_settings=_AS_THEY_ARE)(_probe)
    app.add_typer(models.app)
    app.add_typer(token.app)
    app.command("version", epilog=version.EPILOG)(version.show_version)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    argv: the arguments after the program's name; None takes those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows what it can
    try:
        build()(args=None if argv is None else list(argv), prog_name="sensorium")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except UsageFault as fault:
        say(fault)
        return USAGE
    except UnicodeEncodeError:
        say("an argument holds bytes that were no UTF-8; write it in UTF-8")
        return USAGE
    except MeshError as fault:
        say(fault)
        return UNAVAILABLE
    except SensoriumError as error:
        say(error)
        return code_of(error)
    return 0
