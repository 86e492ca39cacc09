"""Holds what a run found against what is to be reached: seven numbers, each in its cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.campaign import OURS, OVERLOAD_TIMEOUT_S, Findings
from bench.inputs import TEXTS
from bench.results import OpenRow, Row
from bench.soak import Soak
from shared.inference.providers import cpu_has_amx

Rows = Mapping[tuple[str, int, str], Row]  # by kind, callers and system

_OVERLOAD = 3.5  # of the capacity: the open loops above it are the overload
_FLAT = 1.05  # of the memory after the first thousand requests; a guess at what the allocator alone may do


@dataclass(frozen=True, slots=True)
class Goal:
    """One number that is to be reached.

    number: which of the seven. unit: of `wanted` and `reached`, as "ms"; empty for a ratio.
    is_least: whether `reached` is to be at least `wanted`, else at most. reached: None where it was not measured.
    note: the cell that decided, or why there is none.
    """

    number: str
    what: str
    wanted: float
    is_least: bool
    reached: float | None
    unit: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """What was reached over what was wanted."""
        return None if self.reached is None else self.reached / self.wanted

    @property
    def verdict(self) -> str:
        """Returns "reached", "not reached" or "not measured"."""
        if self.reached is None:
            return "not measured"
        is_met = self.reached >= self.wanted if self.is_least else self.reached <= self.wanted
        return "reached" if is_met else "not reached"

    def record(self) -> dict[str, Any]:
        """Returns it as JSON, with ratio and verdict. Any: that is what JSON is."""
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


def goals(findings: Findings) -> Sequence[Goal]:
    """Returns all numbers, those too that this run did not measure."""
    rows: Rows = {(row.kind, row.callers, row.system): row for row in findings.rows}
    return [
        *_limit(rows),
        _fastest_peer(rows),
        *_bf16(rows),
        *_latency(rows, findings.prepare_ms),
        *(goal for kind in TEXTS for goal in _overload(kind, findings.open_rows)),
        *_memory(findings.soak),
        _cold(findings.cold_s),
        *_ingest(rows),
    ]


def _limit(rows: Rows) -> Iterator[Goal]:
    for kind in TEXTS:
        for callers, least in ((32, 0.95), (8, 0.90)):
            row = rows.get((kind, callers, OURS))
            what = f"rate over the limit's, {kind}, {callers} callers"
            yield Goal("1a", what, least, is_least=True, reached=row.limit if row else None, note=_cell_note(row))
    for kind in TEXTS:
        row = rows.get((kind, 32, OURS))
        what = f"server CPU over the limit's, {kind}, 32 callers"
        yield Goal("1b", what, 1.10, is_least=False, reached=row.cpu_ratio if row else None, note=_cell_note(row))
    row = rows.get(("mixed", 32, OURS))
    what = "padded over real tokens, mixed, 32 callers"
    yield Goal("1c", what, 1.15, is_least=False, reached=row.padding if row else None, note=_cell_note(row))


def _cell_note(row: Row | None) -> str:
    return "" if row else "the cell was not run"


def _fastest_peer(rows: Rows) -> Goal:
    """Takes the worst cell: where a peer is farthest ahead, or least behind."""
    found = [
        (row.rate / ours.rate, row)
        for (kind, callers, _), row in rows.items()
        if _is_peer(row) and (ours := rows.get((kind, callers, OURS))) and ours.rate
    ]
    what = "fastest peer's rate over ours, the worst of all cells"
    if not found:
        return Goal("1d", what, 1.0, is_least=False, reached=None, note="no cell with a peer was run")
    ratio, row = max(found, key=lambda pair: pair[0])
    ahead = sum(each > 1 for each, _ in found)
    note = f"{row.system}, {row.kind}, {row.callers} callers; ahead in {ahead} of {len(found)} comparisons"
    return Goal("1d", what, 1.0, is_least=False, reached=ratio, note=note)


def _is_peer(row: Row) -> bool:
    return not row.system.startswith(OURS)


def _bf16(rows: Rows) -> Iterator[Goal]:
    for kind in TEXTS:
        what = f"bf16's rate over the best peer's, {kind}, 32 callers"
        cell = [row for (of, callers, _), row in rows.items() if (of, callers) == (kind, 32)]
        peers = [row for row in cell if _is_peer(row) and row.rate]
        variants = [row for row in cell if "bf16" in row.system and ", " not in row.system]
        if peers and variants:
            best, ours = (max(each, key=lambda row: row.rate) for each in (peers, variants))
            yield Goal(
                "2", what, 4.0, is_least=True, reached=ours.rate / best.rate, note=f"{ours.system}; {best.system}"
            )
            continue
        why = "no peer was run beside it" if variants else "no --variant with bf16 in its name"
        if not variants and not cpu_has_amx():
            why = "this CPU has no AMX"
        yield Goal("2", what, 4.0, is_least=True, reached=None, note=why)


def _latency(rows: Rows, prepare_ms: Mapping[str, float]) -> Iterator[Goal]:
    """Compares with a call in one's own process, which has to tokenize or decode as well before it runs the graph."""
    for kind, name in (("short", "text"), ("image", "JPEG")):
        row, own_ms = rows.get((kind, 1, OURS)), prepare_ms.get(kind, 0.0)
        note = f"less {own_ms:.2f} ms that its preprocessing takes in one's own process" if row else _cell_note(row)
        for part, most, above in (
            ("p50", 1.5, row.added_ms if row else None),
            ("p99", 3.0, row.added_p99_ms if row else None),
        ):
            yield Goal("3", f"added {part}, one caller, {name}", most, is_least=False,
                       reached=None if above is None else above - own_ms, unit="ms", note=note)  # fmt: skip
        meshed = rows.get((kind, 1, f"{OURS}, orchestrator"))
        note = f"less {own_ms:.2f} ms, as above" if meshed else _cell_note(meshed)
        above = meshed.added_ms if meshed else None
        yield Goal("3", f"added p50, one caller, {name}, through the orchestrator", 3.0, is_least=False,
                   reached=None if above is None else above - own_ms, unit="ms", note=note)  # fmt: skip


def _overload(kind: str, rows: Sequence[OpenRow]) -> Iterator[Goal]:
    fitting = [row for row in rows if row.system == OURS and row.kind == kind and row.share >= _OVERLOAD]
    row = fitting[-1] if fitting else None
    note = f"at {row.share:.1f} times the capacity, {row.rate:.0f}/s" if row else "no open loop of 4 times the capacity"
    name = f"{kind}, overload"
    goodput = row.answered * row.share / row.rate if row else None
    yield Goal("4", f"answered in time over the capacity, {name}", 0.9, is_least=True, reached=goodput, note=note)
    yield Goal("4", f"p99 of accepted calls, {name}: within the deadline", 1e3 * OVERLOAD_TIMEOUT_S, is_least=False,
               reached=row.p99_ms if row else None, unit="ms", note=note)  # fmt: skip
    expired = row.expired / (row.answered + row.expired) if row and row.answered else None
    yield Goal("4", f"share of accepted calls that expired, {name}", 0.01, is_least=False, reached=expired, note=note)
    is_refused = row is not None and row.refused > 0
    note = note if is_refused or row is None else "nothing was refused"
    for part, took in (("p50", row.refusal_p50_ms if row else 0.0), ("p99", row.refusal_p99_ms if row else 0.0)):
        yield Goal("4", f"{part} of refusals, {name}", 5.0, is_least=False, reached=took if is_refused else None,
                   unit="ms", note=note)  # fmt: skip


def _memory(found: Soak | None) -> Iterator[Goal]:
    after = f"after {found.requests:,} mixed requests" if found else "after many mixed requests"
    note = f"{found.first_mb:.0f} MB after {found.first:,} requests" if found else "there was no soak"
    if found and found.requests < 100_000:
        note += "; the goal is of 100,000: --soak"
    yield Goal("5", f"PSS of the text service {after}", 260.0, is_least=False,
               reached=found.last_mb if found else None, unit="MB", note=note)  # fmt: skip
    growth = found.last_mb / found.first_mb if found else None
    yield Goal("5", f"PSS {after} over that after the first thousand", _FLAT, is_least=False, reached=growth, note=note)


def _cold(cold_s: Mapping[str, float]) -> Goal:
    note = ", ".join(f"{name} {seconds:.2f}" for name, seconds in cold_s.items()) or "no service was started for it"
    worst = max(cold_s.values(), default=None)
    return Goal("6", "start to readiness, the slowest service", 2.0, is_least=False, reached=worst, unit="s", note=note)


def _ingest(rows: Rows) -> Iterator[Goal]:
    for kind in TEXTS:
        for suffix, callers in ((", stream", 64), (", 32 a call", 4)):
            row = rows.get((kind, callers, OURS + suffix))
            what, share = f"rate over the limit's, {kind}{suffix}", row.limit if row else None
            yield Goal("7", what, 0.97, is_least=True, reached=share, note=_cell_note(row))
