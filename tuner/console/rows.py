"""Which trials the status table shows, at a cost that hardly depends on how many there are."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuner.experiment.best import rank
from tuner.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial

STATUS_ORDER = (RUNNING, PENDING, PAUSED, TERMINATED, ERROR)


@dataclass(frozen=True, slots=True)
class Rows:
    """The trials that are shown and how many of each status are not.

    Attributes:
        trials: In the order of the table.
        hidden: Number of the others by status.
    """

    trials: list[Trial]
    hidden: Mapping[str, int]

    @property
    def more(self) -> str:
        """A line about what is not shown, empty if all is."""
        number = sum(self.hidden.values())
        if not number:
            return ""
        return f"... {number} more trials not shown ({counts_text(self.hidden)})"


def pick_rows(
    trials: Sequence[Trial],
    counts: Mapping[str, int],
    limit: int,
    running: Collection[Trial] | None = None,
) -> Rows:
    """The running trials, then the latest others; pending ones last."""
    if running is None:
        running = _running(trials, counts.get(RUNNING, 0))
    shown = _first(running, limit)
    spare = limit - len(shown)
    if spare > 0:
        shown += _latest_others(trials, spare)
    return _rows(shown, counts)


def pick_best_rows(
    trials: Sequence[Trial],
    counts: Mapping[str, int],
    limit: int,
    metric: str | None,
    mode: str | None,
    *,
    running_first: bool = False,
) -> Rows:
    """The trials with the best last results; in order of creation without a metric."""
    shown = _first(_running(trials, counts.get(RUNNING, 0)), limit) if running_first else []
    candidates = [t for t in trials if t.status != RUNNING] if running_first else trials
    spare = limit - len(shown)
    if metric is None or mode is None:
        shown += candidates[:spare]
    else:
        ranked = [(rank(trial, metric, mode), i) for i, trial in enumerate(candidates)]
        shown += [candidates[i] for _, i in heapq.nsmallest(spare, ranked)]
    return _rows(shown, counts)


def pick_errors(trials: Iterable[Trial], limit: int) -> list[Trial]:
    """The first trials that failed for good."""
    return _first((trial for trial in trials if trial.status == ERROR), limit)


def count(trials: Iterable[Trial]) -> Counter[str]:
    """Number of trials by status."""
    return Counter([trial.status for trial in trials])


def counts_text(counts: Mapping[str, int]) -> str:
    """Numbers by status, such as `"4 RUNNING, 2 TERMINATED"`."""
    statuses = [*STATUS_ORDER, *(status for status in counts if status not in STATUS_ORDER)]
    return ", ".join(f"{counts[s]} {s}" for s in statuses if counts.get(s))


def _running(trials: Sequence[Trial], number: int) -> list[Trial]:
    found: list[Trial] = []
    for trial in reversed(trials):
        if len(found) == number:
            break
        if trial.status == RUNNING:
            found.append(trial)
    return found[::-1]


def _latest_others(trials: Sequence[Trial], limit: int) -> list[Trial]:
    others: list[Trial] = []
    pending: list[Trial] = []
    for trial in reversed(trials):
        status = trial.status
        if status == RUNNING:
            continue
        if status == PENDING:
            pending.append(trial)
            continue
        others.append(trial)
        if len(others) == limit:
            return others
    return (others + pending[::-1])[:limit]


def _first(trials: Iterable[Trial], limit: int) -> list[Trial]:
    return [trial for _, trial in zip(range(limit), trials, strict=False)]


def _rows(shown: list[Trial], counts: Mapping[str, int]) -> Rows:
    return Rows(shown, Counter(counts) - count(shown))
