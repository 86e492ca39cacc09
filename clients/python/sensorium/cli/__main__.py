"""Runs the command line: `python -m sensorium.cli --help`."""

from sensorium.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
