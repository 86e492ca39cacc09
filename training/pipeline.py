"""The whole run: prepare, train the towers, train fusion and head, measure, calibrate, package, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from tokenizers import Tokenizer

from training.calibration import calibrate, held_out_answers, split_half_errors
from training.captions import all_captions
from training.card import model_card, shown
from training.concepts import LABELS, all_names
from training.contrastive import Advance, Towers, train_towers
from training.encoding import Encoder
from training.held_out import WRITER_COUNT, write_held_out
from training.joining import pools, train_joint
from training.joint import ConceptHead, Fusion
from training.latency import measure_latency
from training.measuring import held_out_vectors, measure
from training.package import Bundle, Calibration, write_bundle
from training.prepare import SOURCE_COUNT, prepare
from training.report import write_report
from training.sampling import Sampler
from training.settings import Settings
from training.tokenizer import train_tokenizer
from training.unsure import measure_levels

_THREADS = 2  # the recipe's machine; more change the order of sums, and with it the last digits


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything that learned."""

    towers: Towers
    fusion: Fusion
    head: ConceptHead
    tokenizer: Tokenizer


def run(data: Path, out: Path, runs: Path, settings: Settings) -> Mapping[str, float]:
    """Makes the bundle from `data` into `out` and returns the measured numbers.

    A run is known by its settings: the same settings go on from the checkpoint in `runs`.
    """
    torch.set_num_threads(_THREADS)
    began = time.monotonic()
    console = Console()
    folder = runs / run_name(settings)
    with _progress(console) as progress:
        train = prepare(data, folder / "cache", settings, _advance(progress, "preparing", SOURCE_COUNT))
        write_held_out(data, folder / "held-out", settings, _advance(progress, "held out", WRITER_COUNT))
        tokenizer = _tokenizer(folder / "tokenizer.json")
        towers = train_towers(
            Sampler(train, tokenizer, settings),
            tokenizer.get_vocab_size(),
            settings,
            folder,
            _advance(progress, "towers", settings.steps),
        )
        encoder = Encoder(towers, tokenizer)
        steps = settings.fusion_steps + settings.head_steps
        fusion, head = train_joint(
            encoder, pools(encoder, train, settings), settings, _advance(progress, "fusion, concepts", steps)
        )
    duration_s = _duration_s(folder, time.monotonic() - began)
    numbers, page = _finish(Trained(towers, fusion, head, tokenizer), out, folder, settings, duration_s)
    (folder / "numbers.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False), encoding="utf-8")
    console.print(_table(numbers))
    console.print(f"models: {out}\nreport: {page}", soft_wrap=True)
    return numbers


def run_name(settings: Settings) -> str:
    """Returns the folder's name: a digest of the settings, so that no run goes on from another's checkpoint."""
    facts = json.dumps(dataclasses.asdict(settings), sort_keys=True)
    return f"seed{settings.seed}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def _finish(
    trained: Trained, out: Path, folder: Path, settings: Settings, duration_s: float
) -> tuple[dict[str, float], Path]:
    """Calibrates and measures the packages in a running mesh, ships them, and reports.

    Returns the numbers and the report's page.
    """
    encoder, held_out, staged = Encoder(trained.towers, trained.tokenizer), folder / "held-out", folder / "models"
    write_bundle(_bundle(trained, {}), staged)
    vectors = held_out_vectors(staged, held_out)
    answers, levels = held_out_answers(encoder, vectors), measure_levels(staged, held_out)
    calibration = {
        kind: replace(fitted, none_cosine=levels[kind].none_cosine if kind in levels else None)
        for kind, fitted in calibrate(encoder, vectors).items()
    }
    write_bundle(_bundle(trained, calibration), staged)
    measured = measure(staged, held_out, trained.head, folder / "evaluation")
    numbers = {**measured.numbers} | split_half_errors(answers) | measure_latency(trained.towers)
    rounded = {task: round(number, 4) for task, number in numbers.items()}
    card = model_card(rounded, measured.recalls, calibration, levels, settings, duration_s)
    # Times differ from run to run: they belong to the card.
    kept = {task: number for task, number in rounded.items() if not task.startswith("ms ")}
    facts = {"seed": settings.seed, "steps": settings.steps, "duration_s": round(duration_s), "held_out": kept}
    write_bundle(_bundle(trained, calibration, card, facts), out)
    return rounded, write_report(folder, encoder, vectors, answers, replace(measured, numbers=rounded))


def _bundle(
    trained: Trained,
    calibration: Mapping[str, Calibration],
    card: str = "",
    facts: Mapping[str, Any] | None = None,  # Any: JSON
) -> Bundle:
    return Bundle(
        trained.towers.vision,
        trained.towers.audio,
        trained.towers.text,
        trained.fusion,
        trained.head,
        trained.tokenizer,
        calibration,
        card,
        facts or {},
    )


def _tokenizer(file: Path) -> Tokenizer:
    """Returns the tokenizer of a run, trained on every name and caption where there is none yet."""
    if file.is_file():
        return Tokenizer.from_file(str(file))
    names = [name for label in range(len(LABELS)) for name in all_names(label)]
    tokenizer = train_tokenizer([*names, *all_captions()])
    tokenizer.save(str(file))
    return tokenizer


def _duration_s(folder: Path, seconds: float) -> float:
    """Returns the time that the run took, earlier parts of a resumed one included; of a finished one, what it took."""
    file = folder / "duration.json"
    recorded = float(json.loads(file.read_text())) if file.is_file() else 0.0
    if recorded and (folder / "numbers.json").is_file():
        return recorded
    file.write_text(json.dumps(recorded + seconds))
    return recorded + seconds


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def _advance(progress: Progress, description: str, total: int) -> Advance:
    task: TaskID = progress.add_task(description, total=total, note="")
    return lambda count, note: progress.update(task, advance=count, note=note)


def _table(numbers: Mapping[str, float]) -> Table:
    table = Table("measured on held-out data", "")
    for task, number in numbers.items():
        table.add_row(task, shown(task, number))
    return table
