"""`sensorium demo`: starts a mesh, shows it samples, and writes a page of what it said."""

from sensorium.cli.demo.command import EPILOG, demo

__all__ = ["EPILOG", "demo"]
