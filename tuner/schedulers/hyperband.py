"""HyperBand: brackets of trials that are halved together, each with another number of trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tuner.schedulers.change import Change, Stop
from tuner.schedulers.metric_scheduler import MetricScheduler
from tuner.schedulers.scheduler import ExperimentView, TrialView
from tuner.validation import check_flag, check_number


class HyperBandScheduler(MetricScheduler):
    """Synchronous HyperBand.

    Source: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
    2018 (JMLR 18:185), algorithm 1.

    A bracket is a tournament. All its trials train up to the time of its first rung and pause
    there. Once all have arrived, the best `1 / reduction_factor` of them go on to the next rung
    and the others end, until few are left, which train to `max_t`. The brackets differ in how many
    trials they take and how early they halve them; see `bracket_table`. Trials fill them in the
    order of arrival, the bracket with the most trials first. After the last bracket comes the
    first again.

    A bracket is halved when it is full, or when no more trials can come. A trial that fails for
    good or ends by itself leaves its bracket; the others need not wait for it. Trials that were
    promoted run before new ones are begun, those with the fewest rungs before them first; a trial
    that is retried, or was cut off, goes before all. A metric that is NaN counts as the worst
    value; of equal trials the older one goes on.

    Where it differs from ray.tune: a bracket takes as many trials as table 1 of the paper says (for
    `max_t=81`: 81, 27, 9, 6, 5); ray rounds up as algorithm 1 does (81, 34, 15, 8, 5) and fills
    the smallest first. Rungs are not rounded to whole times, and a bracket that is not full keeps
    `1 / reduction_factor` of those that it has.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow. A rung is reached
            by the first result at or after its time.
        metric: The reported value to optimize, `"a/b"` for a nested one; None takes it from
            `TuneConfig`.
        mode: `"min"` or `"max"`; None takes it from `TuneConfig`.
        max_t: Time at which a trial is stopped, in units of `time_attr`; R in the paper. The
            first rung of the first bracket lies between 1 and `reduction_factor` of these units.
        reduction_factor: Of each rung's trials, one in so many goes on; more than 1; eta in the
            paper.
        stop_last_trials: Whether trials are stopped at `max_t`; otherwise they go on to their own
            end.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when a trial reports no
            `metric` or `time_attr`.

    Example:
        >>> scheduler = HyperBandScheduler(metric="loss", mode="min", max_t=27)
        >>> scheduler.bracket_table(max_t=27, reduction_factor=3)[0]
        [(27, 1.0), (9, 3.0), (3, 9.0), (1, 27.0)]
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        owner = type(self).__name__
        check_number(owner, "max_t", max_t, "use a number > 0")
        check_number(owner, "reduction_factor", reduction_factor, "use a number > 1", above=1)
        check_flag(owner, "stop_last_trials", stop_last_trials)
        self._max_t = max_t
        self._reduction_factor = reduction_factor
        self._stop_last_trials = stop_last_trials
        self._table = self.bracket_table(max_t, reduction_factor)
        self._num_brackets = 0
        self._num_dropped = 0
        # Brackets that have live trials, and the one that is being filled; oldest first.
        self._brackets: dict[int, _Bracket] = {}
        # Numbers of those that wait for no trial but new ones, and of those with promoted trials.
        self._complete: set[int] = set()
        self._promoting: set[int] = set()
        self._live: dict[str, _Place] = {}  # trials that have been added and have not ended

    @staticmethod
    def bracket_table(
        max_t: float = 81, reduction_factor: float = 3
    ) -> list[list[tuple[int, float]]]:
        """The brackets in the order in which they are filled.

        Args:
            max_t: As of the scheduler.
            reduction_factor: As of the scheduler.

        Returns:
            For each bracket its rungs, each with the number of trials that train for it (n_i in
            the paper) and the time at which it lies (r_i).
        """
        s_max = 0
        while reduction_factor ** (s_max + 1) <= max_t:
            s_max += 1
        brackets = []
        for s in range(s_max, -1, -1):
            num_trials = math.floor((s_max + 1) // (s + 1) * reduction_factor**s)
            rungs = range(s + 1)
            sizes = (_size(num_trials, reduction_factor, i) for i in rungs)
            times = (max_t / reduction_factor ** (s - i) for i in rungs)
            brackets.append(list(zip(sizes, times, strict=True)))
        return brackets

    def on_trial_add(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Put the trial into the bracket that is being filled; a retried one is in its already."""
        self._check_objective()
        if trial.trial_id in self._live:
            return
        bracket = next(reversed(self._brackets.values()), None)
        if bracket is None or not bracket.is_open:
            bracket = self._open_bracket()
        self._live[trial.trial_id] = bracket.add()
        self._note(bracket)

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Pause the trial at its rung, or stop it at `max_t`."""
        place = self._live[trial.trial_id]
        self._take_up(trial.trial_id, place)
        if self._skips(result):
            return self.CONTINUE
        time = self._time(trial.trial_id, result)
        reward = self._reward(trial.trial_id, result)
        if self._stop_last_trials and time >= self._max_t:
            return self.STOP
        if place.is_at_last_rung or time < place.milestone:
            return self.CONTINUE
        place.reward = reward
        return self.PAUSE

    def on_trial_pause(self, experiment: ExperimentView, trial: TrialView) -> None:
        """The trial waits at its rung; one that another has paused may go on."""
        place = self._live[trial.trial_id]
        place.bracket.lay_down(trial.trial_id, place)
        self._note(place.bracket)

    def on_trial_error(self, experiment: ExperimentView, trial: TrialView) -> None:
        """The bracket waits for a trial that is retried, and goes on without one that is not."""
        if trial.status == "ERROR":
            self._leave(trial)
        elif (place := self._live.get(trial.trial_id)) is not None:
            self._take_up(trial.trial_id, place)

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """The trial leaves its bracket."""
        self._leave(trial)

    def on_trial_remove(self, experiment: ExperimentView, trial: TrialView) -> None:
        """The trial leaves its bracket."""
        place = self._live.get(trial.trial_id)
        self._num_dropped += place is not None and trial.trial_id in place.bracket.waiting
        self._leave(trial)

    def on_trial_change(self, experiment: ExperimentView, trial: TrialView, change: Change) -> None:
        """The trial was promoted."""
        place = self._live[trial.trial_id]
        place.bracket.promote(trial.trial_id, place)
        self._note(place.bracket)

    def changes(self, experiment: ExperimentView) -> Iterable[Change | Stop]:
        """End what is not among the best of a bracket that is complete, and promote the others.

        A promotion is a change of nothing: it is there to be recorded.
        """
        for bracket in map(self._brackets.__getitem__, sorted(self._complete)):
            if bracket.is_open and experiment.expects_trials and not experiment.is_stalled:
                continue
            if all(_is_paused(experiment, trial_id) for trial_id in bracket.waiting):
                yield from bracket.halve()

    def choose_trial_to_run(self, experiment: ExperimentView) -> TrialView | None:
        """A trial that was cut off, else the promoted one nearest to its end, else a new one."""
        cut_off = (trial for trial in experiment.pending_trials if trial.last_result)
        new = (trial for trial in experiment.pending_trials if not trial.last_result)
        for waiting in (cut_off, self._promoted(experiment), new):
            for trial in waiting:
                if experiment.fits(trial):
                    return trial
        return None

    def debug_string(self) -> str:
        """How many trials were dropped at rungs, and where the brackets are."""
        lines = [f"{type(self).__name__}: {self._num_dropped} trials dropped"]
        lines += [f"bracket {n}: {bracket.describe()}" for n, bracket in self._brackets.items()]
        return "\n".join(lines)

    def _promoted(self, experiment: ExperimentView) -> Iterator[TrialView]:
        halved = map(self._brackets.__getitem__, self._promoting)
        for bracket in sorted(halved, key=lambda bracket: (bracket.rungs_left, bracket.number)):
            for trial_id in bracket.promoted:
                trial = experiment.get_trial(trial_id)
                if trial is not None and trial.status == "PAUSED":
                    yield trial

    def _open_bracket(self) -> _Bracket:
        rungs = self._table[self._num_brackets % len(self._table)]
        bracket = _Bracket(self._num_brackets, rungs, self._reduction_factor)
        self._brackets[bracket.number] = bracket
        self._num_brackets += 1
        return bracket

    def _leave(self, trial: TrialView) -> None:
        place = self._live.pop(trial.trial_id, None)
        if place is None:
            return
        bracket = place.bracket
        bracket.num_live -= 1
        self._take_up(trial.trial_id, place)
        if not bracket.num_live and not bracket.is_open:
            del self._brackets[bracket.number]

    def _take_up(self, trial_id: str, place: _Place) -> None:
        place.bracket.take_up(trial_id, place)
        self._note(place.bracket)

    def _note(self, bracket: _Bracket) -> None:
        """Keeps track of a bracket that has changed."""
        for numbers, belongs in (
            (self._complete, bracket.is_complete),
            (self._promoting, bool(bracket.promoted)),
        ):
            if belongs:
                numbers.add(bracket.number)
            else:
                numbers.discard(bracket.number)


class _Bracket:
    """Trials that are halved together.

    Args:
        number: How many brackets there were before it.
        rungs: For each rung its number of trials and its time, from the table.
        reduction_factor: Of a rung's trials, one in so many goes on.
    """

    __slots__ = (
        "_reduction_factor",
        "_rungs",
        "num_added",
        "num_live",
        "number",
        "promoted",
        "rung",
        "waiting",
    )

    def __init__(
        self, number: int, rungs: list[tuple[int, float]], reduction_factor: float
    ) -> None:
        self.number = number
        self._rungs = rungs
        self._reduction_factor = reduction_factor
        self.num_added = 0
        self.num_live = 0  # of the added ones, those that have not left
        self.rung = 0  # the highest one that a trial was promoted to
        self.waiting: dict[str, _Arrival] = {}  # paused at their rung
        self.promoted: dict[str, None] = {}  # paused, or launched since and not heard of yet

    @property
    def is_open(self) -> bool:
        """Whether it takes more trials."""
        return self.rung == 0 and self.num_added < self._rungs[0][0]

    @property
    def last_rung(self) -> int:
        return len(self._rungs) - 1

    @property
    def rungs_left(self) -> int:
        return self.last_rung - self.rung

    @property
    def is_complete(self) -> bool:
        """Whether it waits for no trial but new ones."""
        if not self.waiting:
            return False
        return len(self.waiting) == self.num_live or self._is_half_recorded

    @property
    def _is_half_recorded(self) -> bool:
        """Whether the record of the last halving broke off: some trials were promoted, not all."""
        return next(iter(self.waiting.values())).rung < self.rung

    def time_of(self, rung: int) -> float:
        return self._rungs[rung][1]

    def add(self) -> _Place:
        self.num_added += 1
        self.num_live += 1
        return _Place(self, self.num_added)

    def take_up(self, trial_id: str, place: _Place) -> None:
        """The trial runs, or has left."""
        self.waiting.pop(trial_id, None)
        self.promoted.pop(trial_id, None)
        place.reward = None

    def lay_down(self, trial_id: str, place: _Place) -> None:
        """The trial has paused."""
        if place.reward is None:
            self.promoted[trial_id] = None
        else:
            self.waiting[trial_id] = _Arrival(place.rung, place.reward, place.order)

    def promote(self, trial_id: str, place: _Place) -> None:
        """The trial is to go on to the next rung, if it was not promoted before."""
        if self.waiting.pop(trial_id, None) is None:
            return
        place.rung = self.rung if place.rung < self.rung else self._next_rung()
        self.rung = place.rung
        place.reward = None
        self.promoted[trial_id] = None

    def halve(self) -> Iterator[Change | Stop]:
        """What is to become of the trials that wait: the worst ones first, so that the record,
        wherever it breaks off, has no promotion in it before all of them have ended."""
        ranked = sorted(self.waiting.items(), key=lambda item: item[1].rank, reverse=True)
        if self._is_half_recorded:
            best = [item for item in ranked if item[1].rung < self.rung]
        else:
            best = ranked[: self._size(self.rung + 1)]
            yield from (Stop(trial_id=trial_id) for trial_id, _ in ranked[len(best) :])
        yield from (Change(trial_id=trial_id) for trial_id, _ in best)

    def describe(self) -> str:
        return (
            f"t={self.time_of(self.rung):g}: {len(self.waiting)} of {self.num_live} trials wait, "
            f"{self.num_added} added of {self._rungs[0][0]}"
        )

    def _next_rung(self) -> int:
        """The next one after which trials end, or the last one."""
        rung = self.rung + 1
        while rung < self.last_rung and self._size(rung) == self._size(rung + 1):
            rung += 1
        return rung

    def _size(self, rung: int) -> int:
        return _size(self.num_added, self._reduction_factor, rung)


class _Place:
    """Where a trial is: its bracket, its rung, and what it achieved there."""

    __slots__ = ("bracket", "order", "reward", "rung")

    def __init__(self, bracket: _Bracket, order: int) -> None:
        self.bracket = bracket
        self.order = order
        self.rung = 0
        self.reward: float | None = None  # None until it has reached its rung

    @property
    def is_at_last_rung(self) -> bool:
        return self.rung == self.bracket.last_rung

    @property
    def milestone(self) -> float:
        return self.bracket.time_of(self.rung)


class _Arrival(NamedTuple):
    """A trial that waits at a rung."""

    rung: int
    reward: float
    order: int

    @property
    def rank(self) -> tuple[float, int]:
        """More is better; of equal trials the older one is."""
        return self.reward, -self.order


def _size(num_trials: int, reduction_factor: float, rung: int) -> int:
    return max(1, math.floor(num_trials / reduction_factor**rung))


def _is_paused(experiment: ExperimentView, trial_id: str) -> bool:
    trial = experiment.get_trial(trial_id)
    return trial is not None and trial.status == "PAUSED"
