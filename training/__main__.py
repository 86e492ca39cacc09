"""`python -m training`: makes the bundle `tiny@1` from a data folder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from training.originals import ARCHIVES
from training.pipeline import run
from training.settings import Settings
from training.standin import write_standin


def main() -> None:
    """Reads the command line and runs the pipeline."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with the data sets' archives; --smoke can do without")
    parser.add_argument("--out", type=Path, default=Path("models"), help="where the packages go (models)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="caches, checkpoints, logs (runs)")
    parser.add_argument("--smoke", action="store_true", help="walk through every step in under two minutes")
    parser.add_argument("--seed", type=int, default=0, help="two runs with one seed learn the same (0)")
    given = parser.parse_args()
    settings = Settings(seed=given.seed).smoke() if given.smoke else Settings(seed=given.seed)
    data = given.data or given.runs / "standin"
    if given.data is None and given.smoke:
        write_standin(data, settings)
    missing = [name for name in ARCHIVES if not (data / name).is_file()]
    if given.data is None and not given.smoke:
        parser.error("give --data, the folder with the data sets' archives; training/README.md says what it holds")
    if missing:
        parser.error(f"--data: {data} lacks {', '.join(missing)}; training/README.md says where they come from")
    if shutil.which("espeak-ng") is None:
        parser.error("espeak-ng, which speaks what is learned from, is not installed; apt-get install espeak-ng")
    run(data, given.out, given.runs, settings)


if __name__ == "__main__":
    main()
