"""What the models of a server may take together, and which of them go where another one needs the room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.errors import FailedPrecondition, Reason
from shared.inference.package import Package

_MB = 1_000_000

# What lies beside graphs and weights in a package: cards, tokenizers, numbers. All else is counted, whatever its name,
# since exporters name the files of their weights as they like.
_NO_WEIGHTS = (".json", ".md", ".txt")


class OverBudget(FailedPrecondition):
    """A model does not fit beside those that have to stay."""


@dataclass(frozen=True, slots=True)
class Held:
    """A loaded model as the budget sees it; `used_at` only has to grow, `stays` says that it must not go."""

    model: str
    size_bytes: int
    used_at: float
    stays: bool


def weight_bytes(package: Package) -> int:
    """Returns how many bytes the graphs and weights of a package take on disk."""
    names = [name for name in package.manifest.files if not name.endswith(_NO_WEIGHTS)]
    return sum(package.path(name).stat().st_size for name in names)


def choose_leaving(model: str, size_bytes: int, held: Sequence[Held], budget_bytes: int) -> Sequence[str]:
    """Returns the models that have to go so that another one fits, the least recently used first.

    budget_bytes: 0 for no bound.

    Raises:
        OverBudget: it would not fit if all went that may go.
    """
    if not budget_bytes:
        return ()
    excess = sum(each.size_bytes for each in held) + size_bytes - budget_bytes
    leaving = []
    for each in sorted((each for each in held if not each.stays), key=lambda each: each.used_at):
        if excess <= 0:
            break
        leaving.append(each.model)
        excess -= each.size_bytes
    if excess > 0:
        raise _refusal(model, size_bytes, held, budget_bytes)
    return leaving


def budget_text(budget_bytes: int) -> str:
    """Returns how messages name the budget."""
    return f"the memory budget of {_mb(budget_bytes)} (SENSORIUM_MEMORY_BUDGET_MB)"


def absence_text(model: str, budget_bytes: int) -> str:
    """Returns what the error for a model that is not loaded adds where the budget is why."""
    return f"; {model} is unloaded to stay within {budget_text(budget_bytes)}: LoadModel brings it back"


def budget_bytes_of(budget_mb: float) -> int:
    """Returns the budget in bytes; an MB has a million."""
    return int(budget_mb * _MB)


def _refusal(model: str, size_bytes: int, held: Sequence[Held], budget_bytes: int) -> OverBudget:
    loaded = ", ".join(f"{each.model} {_mb(each.size_bytes)}{' (stays)' if each.stays else ''}" for each in held)
    return OverBudget(
        f"{model} takes {_mb(size_bytes)}, and {budget_text(budget_bytes)} has no room for it; "
        f"loaded: {loaded or 'nothing'}",
        reason=Reason.FIELD_INVALID,
        field="model",
        metadata={"model": model[:100], "size": str(size_bytes), "limit": str(budget_bytes), "unit": "bytes"},
    )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / _MB:.1f} MB"
