"""Runs the text service: `python -m services.text --help`."""

from services.text.app import main

if __name__ == "__main__":
    raise SystemExit(main())
