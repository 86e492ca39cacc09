"""Runs the fusion service: `python -m services.fusion --help`."""

from services.fusion.app import main

if __name__ == "__main__":
    raise SystemExit(main())
