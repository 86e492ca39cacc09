"""`python -m training`: makes the bundle `tiny@1` from a data folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.pipeline import run
from training.settings import Settings


def main() -> None:
    """Reads the command line and runs the pipeline."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets' archives")
    parser.add_argument("--out", type=Path, default=Path("models"), help="where the packages go (models)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="caches, checkpoints, logs (runs)")
    parser.add_argument("--smoke", action="store_true", help="walk through every step in under two minutes")
    parser.add_argument("--seed", type=int, default=0, help="two runs with one seed learn the same (0)")
    given = parser.parse_args()
    settings = Settings(seed=given.seed)
    run(given.data, given.out, given.runs, settings.smoke() if given.smoke else settings)


if __name__ == "__main__":
    main()
