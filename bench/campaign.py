"""Runs a plan: the limit, the sweep, every cell in alternation, then the open loops."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from bench.cold import cold_starts
from bench.direct import prepare_ms
from bench.environments import install, is_installed
from bench.estimate import cell_s
from bench.fleet import Fleet, measured
from bench.inputs import inputs
from bench.load.calls import Load, Outcome
from bench.models.folder import Models, graph_of
from bench.plan import Plan, swept_at
from bench.raw import Raw, Ways, raw, ways
from bench.reference import expected
from bench.results import OpenRow, Row, Slice, open_row, row
from bench.scaling import Scaled, scaling
from bench.soak import Soak, soak
from bench.systems.system import Server, Setting, System, SystemFault, label

_CHECKED = 64  # inputs that every system has to answer as the reference does
_SHARES = (0.5, 0.8, 4.0)  # of the capacity, for the open loops; the last is overload
OVERLOAD_TIMEOUT_S = 2
_CAPACITY_CALLERS = 32
OURS = "sensorium"


@dataclass(slots=True)
class Findings:
    """All that a run found.

    limits: by kind, the rate of each way to run the graph alone.
    swept: by kind, system and callers, the rate of every setting.
    prepare_ms: by kind, what a call within one process takes before the graph.
    cold_s: by service, from its start to its readiness.
    missing: systems that do not install, start or answer rightly, each with why.
    """

    limits: dict[str, Mapping[str, float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    open_rows: list[OpenRow] = field(default_factory=list)
    swept: dict[str, dict[str, dict[int, dict[str, float]]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    start_s: dict[str, float] = field(default_factory=dict)
    prepare_ms: dict[str, float] = field(default_factory=dict)
    cold_s: Mapping[str, float] = field(default_factory=dict)
    soak: Soak | None = None
    scaling: list[Scaled] = field(default_factory=list)


def run(plan: Plan, models: Models, told: Callable[[str], None]) -> Findings:
    """Runs the plan; `told` hears of each step."""
    findings, began = Findings(), time.monotonic()
    _install(plan, findings, told)
    _cold(plan, findings, told)
    with Fleet(models, told) as fleet:
        fleet.faults.update(findings.missing)
        for kind in plan.kinds:
            _Kind(plan, models, kind, findings, told, began).run(fleet)
        findings.missing.update(fleet.faults)
    return findings


def _install(plan: Plan, findings: Findings, told: Callable[[str], None]) -> None:
    for system in plan.systems:
        try:
            if plan.installs and not is_installed(system):
                told(f"installing {system.name}")
                install(system)
            elif not is_installed(system):
                raise SystemFault("is not installed; a run without --quick installs it")
        except SystemFault as fault:
            findings.missing[system.name] = str(fault)


def _cold(plan: Plan, findings: Findings, told: Callable[[str], None]) -> None:
    if not plan.cold_rounds:
        return
    try:
        findings.cold_s = cold_starts(plan.cold_rounds)
        told("cold starts: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in findings.cold_s.items()))
    except SystemFault as fault:
        findings.missing["cold starts"] = str(fault)
        told(f"cold starts: {fault}")


class _Kind:
    """All cells of one kind of inputs."""

    def __init__(
        self, plan: Plan, models: Models, kind: str, findings: Findings, told: Callable[[str], None], began: float
    ) -> None:
        self._began = began
        self._plan, self._models, self._kind, self._findings, self._told = plan, models, kind, findings, told
        self._inputs = inputs(kind, models, plan.text_count)
        self._best: dict[tuple[str, int], Setting] = {}

    def run(self, fleet: Fleet) -> None:
        fleet.take(self._inputs, expected(self._inputs, self._models, _CHECKED))
        self._findings.prepare_ms[self._kind] = prepare_ms(self._inputs, self._models)
        batches = ways(self._inputs)
        with raw(graph_of(self._models, self._kind), batches) as limit:
            self._way, rates = limit.best(list(batches), self._plan.raw_s)
            self._findings.limits[self._kind] = rates
            self._told(f"{self._kind}: the limit is {rates[self._way]:.0f}/s, in the way {self._way!r}")
            if self._plan.sweep_s:
                self._sweep(fleet)
            for callers, systems in self._plan.cells(self._kind):
                if self._has_time(callers, systems):
                    self._cell(fleet, limit, callers, systems)
            self._open(fleet)
        for system in self._plan.systems:
            if system.name == OURS and self._kind in system.kinds:
                try:
                    self._soak(fleet, system)
                    self._scale(fleet, system, batches)
                except RuntimeError as fault:
                    self._findings.missing[f"{self._kind}, memory and scaling: {system.name}"] = str(fault)

    def _scale(self, fleet: Fleet, system: System, batches: Ways) -> None:
        if not self._plan.scales(self._kind):
            return
        graph = graph_of(self._models, self._kind)
        for found in scaling(fleet, self._kind, system, graph, batches, self._way, self._plan.seconds):
            self._findings.scaling.append(found)
            self._told(f"{self._kind}, {found.cpus} CPUs: {found.system}: {found.rate:.0f}/s; the limit: "
                       f"{found.limit_rate:.0f}/s")  # fmt: skip

    def _soak(self, fleet: Fleet, system: System) -> None:
        if self._kind != "mixed" or not self._plan.soak_requests:
            return
        fleet.keep_only([])  # so that its first requests are counted, and nothing else runs
        server = fleet.server(system, system.settings[0])
        if server is not None:
            found = self._findings.soak = soak(server, self._kind, self._plan.soak_requests)
            self._told(f"memory: {found.first_mb:.0f} MB after {found.first:,} requests, {found.last_mb:.0f} MB after "
                       f"{found.requests:,}")  # fmt: skip

    def _sweep(self, fleet: Fleet) -> None:
        """Tries every setting of the systems that have some; the best for each number of callers is taken."""
        for system in self._plan.systems:
            settings = self._plan.settings(system, self._kind)
            if self._kind not in system.kinds or len(settings) < 2:
                continue
            rates: dict[int, dict[str, float]] = {callers: {} for callers in self._plan.sweep_callers}
            for setting in settings:
                server = fleet.server(system, setting)
                if server is None:
                    break
                for callers in self._plan.sweep_callers:
                    load = Load(self._plan.sweep_slice_s(self._kind), self._plan.sweep_warmup_s, callers)
                    rates[callers][label(setting)] = measured(server, load)[0].rate
                self._told(f"{self._kind}, sweep: {system.name}, {label(setting)}: "
                           + ", ".join(f"{rates[each][label(setting)]:.0f}/s" for each in rates))  # fmt: skip
            fleet.stop(system.name)
            for callers, found in rates.items():
                if found:
                    winner = max(found, key=found.__getitem__)
                    self._best[system.name, callers] = next(each for each in settings if label(each) == winner)
            self._findings.swept.setdefault(self._kind, {})[system.name] = rates

    def _has_time(self, callers: int, systems: Sequence[System]) -> bool:
        """Returns whether a cell should end within the plan's time, else notes that it is missing."""
        plan = self._plan
        if time.monotonic() - self._began + cell_s(plan, self._kind, systems) < plan.limit_s:
            return True
        self._findings.missing[f"{self._kind}, {callers} callers"] = "there was no time left"
        return False

    def _setting(self, system: System, callers: int) -> Setting:
        return self._best.get((system.name, swept_at(callers)), system.settings[0])

    def _cell(self, fleet: Fleet, limit: Raw, callers: int, systems: Sequence[System]) -> None:
        """Measures each system in each round, the limit before and after each."""
        if not self._plan.is_quick:
            fleet.keep_only(systems)  # what idles takes memory and a little CPU; a quick run takes it to save starts
        slices: dict[str, list[Slice]] = {system.name: [] for system in systems}
        running = [
            (system, server)
            for system in systems
            if (server := fleet.server(system, self._setting(system, callers))) is not None
        ]
        for system, server in running:
            self._findings.start_s.setdefault(system.name, round(server.start_s, 2))
        for turn in range(self._plan.rounds):
            before = self._limit(limit, callers)
            for place in range(turn, turn + len(running)):  # each is first in turn
                system, server = running[place % len(running)]
                load = Load(self._plan.slice_s(self._kind, system), self._plan.warmup_s, callers, pids=server.pids)
                outcome, padding, memory = measured(server, load)
                after = self._limit(limit, callers)
                slices[system.name].append(_slice(outcome, before, after, padding, memory))
                before = after
        for system, _ in running:
            setting = label(self._setting(system, callers))
            found = row(self._kind, callers, system.name, setting, slices[system.name])
            self._findings.rows.append(found)
            self._told(f"{self._kind}, {callers} callers: {found.system}: {found.rate:.0f}/s, {found.limit:.2f} of the "
                       f"limit, p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms")  # fmt: skip

    def _limit(self, limit: Raw, callers: int) -> Outcome:
        """Runs the graph alone: with one caller one input at a time in one worker, else in the best way."""
        return limit.measure("1", self._plan.raw_s, 1) if callers == 1 else limit.measure(self._way, self._plan.raw_s)

    def _open(self, fleet: Fleet) -> None:
        for system in self._plan.systems:
            if self._kind not in system.kinds or not self._plan.is_loaded_openly(system, self._kind):
                continue
            fleet.keep_only([])
            setting = self._setting(system, _CAPACITY_CALLERS)
            server = fleet.server(system, setting)
            if server is None:
                continue
            try:
                self._open_loops(system, server, label(setting))
            except RuntimeError as fault:  # some do not survive their overload; that must not end the run
                self._findings.missing[f"{self._kind}, open loops: {system.name}"] = str(fault)
                self._told(f"{self._kind}, open loops: {system.name}: {fault}")

    def _open_loops(self, system: System, server: Server, setting: str) -> None:
        load = Load(self._plan.slice_s(self._kind, system), self._plan.warmup_s, _CAPACITY_CALLERS)
        capacity = measured(server, load)[0].rate
        if not capacity:
            raise RuntimeError(f"nothing was answered within {load.seconds:g} s")
        for rate in self._plan.rates or [share * capacity for share in _SHARES]:
            target = server.with_timeout(OVERLOAD_TIMEOUT_S)
            outcome, _, _ = measured(target, Load(self._plan.open_s, self._plan.warmup_s, rate=rate))
            found = open_row(self._kind, system.name, setting, rate / capacity, rate, outcome)
            self._findings.open_rows.append(found)
            self._told(f"{self._kind}, {found.share:.1f} of the capacity: {system.name}: {found.answered:.0f}/s "
                       f"answered, p99 {found.p99_ms:.0f} ms, {found.refused:.0f}/s refused")  # fmt: skip


def _slice(outcome: Outcome, before: Outcome, after: Outcome, padding: float | None, memory: float) -> Slice:
    cpu_s = (before.cpu_s + after.cpu_s) / max(1, before.items + after.items)
    alone = [*before.latencies_s, *after.latencies_s]
    return Slice(outcome, mean((before.rate, after.rate)), cpu_s, alone, padding, memory)
