"""Runs the audio service: `python -m services.audio --help`."""

from services.audio.app import main

if __name__ == "__main__":
    raise SystemExit(main())
