"""Runs the vision service: `python -m services.vision --help`."""

from services.vision.app import main

if __name__ == "__main__":
    raise SystemExit(main())
