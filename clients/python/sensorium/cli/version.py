"""`sensorium version`: what is installed here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from sensorium.cli import options
from sensorium.cli.output import print_json

_PARTS = ("grpcio", "protobuf", "numpy", "onnxruntime", "tokenizers", "opencv-python-headless", "soundfile", "soxr")

EPILOG = options.examples("sensorium version", "sensorium version --json")


def show_version(as_json: options.AsJson = False) -> None:
    """Show the version of Sensorium, and of what it stands on, as far as that is installed."""
    found = {"sensorium": version("sensorium"), "python": platform.python_version()}
    for part in _PARTS:
        try:
            found[part] = version(part)
        except PackageNotFoundError:
            continue  # belongs to a service that is not installed here
    if as_json:
        print_json(found)
        return
    for name, number in found.items():
        typer.echo(f"{name} {number}")
