"""Population based training: the worst trials go on from the best, with changed hyperparameters."""

from __future__ import annotations

import hashlib
import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tuner.errors import ConfigError
from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.schedulers.change import Change, Stop
from tuner.schedulers.metric_scheduler import MetricScheduler
from tuner.schedulers.mutations import Mutations
from tuner.schedulers.scheduler import ExperimentView, TrialView
from tuner.search_space.structure import fresh_copy
from tuner.validation import check_flag, check_number, reject, shorten

logger = logging.getLogger(__name__)


class PopulationBasedTraining(MetricScheduler):
    """Population based training (PBT): all trials are one population that is trained together.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017
    (arXiv:1711.09846), algorithm 1 with truncation selection.

    Whenever a trial has trained for `perturbation_interval`, its metric is compared with what the
    others had at their last comparison. A trial in the lower quantile is paused and goes on from
    the checkpoint of one from the upper quantile, drawn at random (exploit), with that one's
    configuration, changed at random (explore). A trial from the upper quantile is saved. What
    comes out is a schedule of hyperparameters; it is written to `pbt_policy_<trial_id>.txt`, for
    `PopulationBasedTrainingReplay`, and to `pbt_global.txt`.

    With fewer slots than trials these take turns: at each interval a trial pauses if another one
    waits that has not trained longer.

    A function must report a checkpoint at each interval, as it can only go on from there. A trial
    without a checkpoint is never gone on from. A metric that is NaN counts as the worst value.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        metric: The reported value to optimize, `"a/b"` for a nested one; None takes it from
            `TuneConfig`.
        mode: `"min"` or `"max"`; None takes it from `TuneConfig`.
        perturbation_interval: From one comparison of a trial to its next, in units of `time_attr`.
        burn_in_period: No trial is compared before this time.
        hyperparam_mutations: What explore may change, by name: a list or tuple of values, a
            domain, a function without arguments, or a dictionary of these for nested
            configurations. Those that the `param_space` lacks are drawn from here at first.
        quantile_fraction: The share of trials in the lower quantile, and in the upper one; 0 to
            0.5. With 0 nothing is exploited.
        resample_probability: How often explore draws a value anew. Else a value of a list or of a
            `choice` becomes one of its neighbours, and a number is multiplied by one of the
            `perturbation_factors`; whole numbers stay whole, and a domain's bounds and its
            multiples of `q` are kept.
        perturbation_factors: What numbers are multiplied by, each as likely as the others.
        custom_explore_fn: Gets the explored configuration, which it may change, and returns the
            one to go on with.
        log_config: Whether the policy files are written.
        require_attrs: Whether a result without `time_attr` or `metric` is an error; otherwise its
            trial goes on.
        synch: Whether trials wait for each other at each interval and are compared all at once;
            otherwise each is compared when it gets there.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when a trial reports no
            `metric` or `time_attr`.

    Example:
        >>> from tuner.search_space import loguniform
        >>> scheduler = PopulationBasedTraining(
        ...     time_attr="training_iteration",
        ...     metric="loss",
        ...     mode="min",
        ...     perturbation_interval=5,
        ...     hyperparam_mutations={"lr": loguniform(1e-4, 1e-1), "width": [8, 16, 32]},
        ... )
        >>> sorted(scheduler.complete_config({"depth": 2}, number=0))
        ['depth', 'lr', 'width']
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        owner = type(self).__name__
        check_number(owner, "perturbation_interval", perturbation_interval, "use a number > 0")
        check_number(owner, "burn_in_period", burn_in_period, "use a number >= 0", least=0)
        _check_share(owner, "quantile_fraction", quantile_fraction, most=0.5)
        _check_share(owner, "resample_probability", resample_probability, most=1)
        _check_factors(owner, perturbation_factors)
        if custom_explore_fn is not None and not callable(custom_explore_fn):
            reject(owner, "custom_explore_fn", custom_explore_fn, "use a function of a config")
        for field, flag in (
            ("log_config", log_config),
            ("require_attrs", require_attrs),
            ("synch", synch),
        ):
            check_flag(owner, field, flag)
        self._mutations = Mutations(owner, hyperparam_mutations or {})
        if not self._mutations and custom_explore_fn is None:
            fix = "say what to change, here or by a custom_explore_fn"
            reject(owner, "hyperparam_mutations", hyperparam_mutations, fix)
        self._perturbation_interval = perturbation_interval
        self._burn_in_period = burn_in_period
        self._quantile_fraction = quantile_fraction
        self._resample_probability = resample_probability
        self._perturbation_factors = tuple(perturbation_factors)
        self._custom_explore_fn = custom_explore_fn
        self._log_config = log_config
        self._skip_unreported = not require_attrs
        self._synch = synch
        self._seed = 0
        self._members: dict[str, Member] = {}
        self._live: dict[str, Member] = {}  # those that have not ended
        self._waiting: dict[str, None] = {}  # paused for an exploit, or for the others
        self._saves_when_told = True  # until one is found that does not
        self._said: set[int] = set()  # at which levels something was logged
        self._num_exploits = 0

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take what the experiment optimizes; called once, before the first trial.

        Args:
            metric: The experiment's metric; fills in the scheduler's own if that was not given.
            mode: Likewise.
            spec: `seed` for all that is drawn; `strict_metric_checking=False` to let trials go on
                when they do not report the metric or the time.

        Returns:
            False if the metric or the mode was given twice; then nothing has changed.

        Raises:
            ConfigError: The metric is not one name, or `mode` is neither `"min"` nor `"max"`.
        """
        skips = self._skip_unreported
        if not super().set_search_properties(metric, mode, **spec):
            return False
        self._skip_unreported |= skips
        self._seed = spec.get("seed", self._seed)
        return True

    def complete_config(self, config: dict[str, Any], number: int) -> dict[str, Any]:
        """The configuration, with the hyperparameters that it lacks drawn from the mutations."""
        return self._mutations.completed(config, seed=self._stream_seed("complete", number, 0))

    def on_trial_add(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Make the trial a member of the population; one that is taken up again stays one."""
        self._check_objective()
        if trial.trial_id in self._live:
            return
        member = self._members.setdefault(trial.trial_id, Member(trial.trial_id, trial.number))
        member.score = None
        reached = as_number(lookup(dict(trial.last_result), self._time_attr))
        member.perturbed_at = reached or 0.0
        self._live[trial.trial_id] = member

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Compare the trial with the others if it has trained for an interval."""
        member = self._live[trial.trial_id]
        self._on_news(member, trial)
        if self._skips(result):
            return self.CONTINUE
        time = self._time(trial.trial_id, result)
        score = self._reward(trial.trial_id, result)
        if time < self._burn_in_period:
            return self.CONTINUE
        if time - member.perturbed_at < self._perturbation_interval:
            return self.CONTINUE
        member.perturbed_at = time
        member.score = score
        self._on_perturbation(trial, result, time=time, score=score)
        decision = self.PAUSE if self._synch else self._compare(experiment, trial, member, result)
        if decision != self.CONTINUE and not result.get("checkpoint_dir_name"):
            member.is_saving = self._saves_when_told
            member.checkpoint = trial.checkpoint
        return decision

    def on_trial_pause(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Have it wait for an exploit, or for the others, if it paused for that."""
        member = self._live[trial.trial_id]
        self._on_news(member, trial)
        if self._synch or member.donors:
            self._waiting[trial.trial_id] = None
        if not trial.has_checkpoint():
            self._say_once(
                logging.WARNING,
                f"trial {trial.trial_id} paused without a checkpoint and begins anew; "
                "report one at each perturbation_interval",
            )

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """Compare the others without it from now on; they may still go on from its checkpoint."""
        self._end(trial)

    def on_trial_remove(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Compare the others without it from now on."""
        self._end(trial)

    def on_trial_error(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Forget what it was paused for; without a further attempt, it is no member any more."""
        if trial.status == "ERROR":
            self._end(trial)
            return
        member = self._live[trial.trial_id]
        member.is_saving = False
        member.donors = ()

    def on_trial_change(self, experiment: ExperimentView, trial: TrialView, change: Change) -> None:
        """Note that the trial may go on; after an exploit, for an interval as its donor does."""
        if change.bundles is not None and change.donor is None:
            return
        member = self._members[trial.trial_id]
        member.num_changes += 1
        member.donors = ()
        self._waiting.pop(trial.trial_id, None)
        if change.donor is not None:
            self._num_exploits += 1
            donor = self._members[change.donor]
            member.perturbed_at = max(member.perturbed_at, donor.perturbed_at)

    def changes(self, experiment: ExperimentView) -> Iterable[Change | Stop]:
        """Exploits of trials that have paused for it; with `synch`, once all have paused."""
        if self._synch and len(self._waiting) < len(self._live) and not experiment.is_stalled:
            return []
        paused = [
            trial
            for trial_id in self._waiting
            if (trial := experiment.get_trial(trial_id)) is not None and trial.status == "PAUSED"
        ]
        if not paused:
            return []
        if self._synch:
            return self._round(experiment, paused)
        drawn_up = (self._exploit(experiment, t, self._live[t.trial_id].donors) for t in paused)
        return [change for change in drawn_up if change is not None]

    def choose_trial_to_run(self, experiment: ExperimentView) -> TrialView | None:
        """The trial that has trained least, among those that do not wait for something else."""
        candidates = (
            trial
            for trial in chain(experiment.pending_trials, experiment.paused_trials)
            if (trial.trial_id not in self._waiting or trial.status != "PAUSED")
            and experiment.fits(trial)
        )
        return min(candidates, key=self._trained, default=None)

    def debug_string(self) -> str:
        """How many trials there are, and how often one has gone on from another."""
        name = type(self).__name__
        return f"{name}: {len(self._live)} trials in the population, {self._num_exploits} exploits"

    def _on_perturbation(
        self, trial: TrialView, result: dict[str, Any], *, time: float, score: float
    ) -> None:
        """Hook: a trial is being compared, with a score of which more is better.

        Called from `on_trial_result`, so also in a replay.
        """

    def _new_config(
        self, experiment: ExperimentView, trial: TrialView, donor: TrialView, seed: int
    ) -> dict[str, Any]:
        """Hook: the configuration, whole, with which a trial goes on from its donor.

        Called from `changes`, so not in a replay: it changes no state, and all that it draws
        derives from `seed`, which differs for each trial and each of its changes.
        """
        config = self._mutations.explored(
            dict(donor.config),
            seed=seed,
            resample_probability=self._resample_probability,
            factors=self._perturbation_factors,
        )
        return self._custom_explored(config, seed)

    def _custom_explored(self, config: dict[str, Any], seed: int) -> dict[str, Any]:
        """What `custom_explore_fn` makes of a configuration; itself without one."""
        if self._custom_explore_fn is None:
            return config
        from tuner.search_space.streams import preserved_globals, seed_globals

        with preserved_globals():
            seed_globals(seed)
            explored = self._custom_explore_fn(config)
        if not isinstance(explored, dict):
            raise ConfigError(
                f"{type(self).__name__}(custom_explore_fn=...): it returned {shorten(explored)}; "
                "return the configuration to go on with, a dictionary"
            )
        copied: dict[str, Any] = fresh_copy(explored)
        return copied

    def _compare(
        self, experiment: ExperimentView, trial: TrialView, member: Member, result: dict[str, Any]
    ) -> str:
        lower, upper = self._quantiles()
        if member in lower:
            donors = [each.trial_id for each in upper if self._can_give(experiment, each)]
            if donors:
                member.donors = tuple(donors)
                return self.PAUSE
            if upper:
                self._say_once(
                    logging.INFO,
                    f"trial {trial.trial_id} goes on as itself, as no better one has a checkpoint",
                )
        can_pause = self._saves_when_told or result.get("checkpoint_dir_name")
        if can_pause and self._is_waited_for(experiment, member):
            return self.PAUSE
        return self.SAVE if member in upper else self.CONTINUE

    def _quantiles(self) -> tuple[list[Member], list[Member]]:
        """The members with the lowest scores, and those with the highest; of each as many."""
        scored = [member for member in self._live.values() if member.score is not None]
        scored.sort(key=lambda member: member.score or 0.0)
        size = min(math.ceil(len(scored) * self._quantile_fraction), len(scored) // 2)
        return scored[:size], scored[len(scored) - size :]

    def _round(self, experiment: ExperimentView, paused: list[TrialView]) -> list[Change]:
        """What follows once all trials are there, or no other one can come."""
        is_complete = len(paused) == len(self._live) and not experiment.expects_trials
        if not is_complete and not experiment.is_stalled:
            return []
        lower, upper = self._quantiles()
        losers = {member.trial_id for member in lower}
        donors = [member.trial_id for member in upper if self._can_give(experiment, member)]
        return [
            (trial.trial_id in losers and self._exploit(experiment, trial, donors))
            or Change(trial_id=trial.trial_id)
            for trial in paused
        ]

    def _exploit(
        self, experiment: ExperimentView, trial: TrialView, donors: Sequence[str]
    ) -> Change | None:
        """How the trial goes on; None while its donor is being saved."""
        member = self._live[trial.trial_id]
        seed = self._stream_seed("explore", member.number, member.num_changes)
        able = [each for each in donors if self._can_give(experiment, self._members[each])]
        if not able:
            return Change(trial_id=trial.trial_id)
        chosen = self._members[random.Random(seed).choice(able)]
        donor = experiment.get_trial(chosen.trial_id)
        assert donor is not None
        if chosen.is_being_saved(donor):
            return None
        return Change(
            trial_id=trial.trial_id,
            donor=donor.trial_id,
            config=self._new_config(experiment, trial, donor, seed),
            is_logged=self._log_config,
        )

    def _can_give(self, experiment: ExperimentView, member: Member) -> bool:
        """Whether others can go on from the member, at once or when it is saved."""
        donor = experiment.get_trial(member.trial_id)
        if donor is None or member.score == -math.inf:
            return False
        return donor.has_checkpoint() or member.is_being_saved(donor)

    def _is_waited_for(self, experiment: ExperimentView, member: Member) -> bool:
        """Whether another trial should have the member's slot."""
        if experiment.expects_trials or any(True for _ in experiment.pending_trials):
            return True
        return any(self._trained(t) <= member.perturbed_at for t in experiment.paused_trials)

    def _trained(self, trial: TrialView) -> float:
        member = self._live.get(trial.trial_id)
        return member.perturbed_at if member is not None else 0.0

    def _on_news(self, member: Member, trial: TrialView) -> None:
        """Take note, at the first sign of a trial since it was told to save, whether it has."""
        self._waiting.pop(member.trial_id, None)
        if member.is_saving and trial.checkpoint == member.checkpoint:
            self._saves_when_told = False
        member.is_saving = False
        member.checkpoint = None

    def _end(self, trial: TrialView) -> None:
        self._waiting.pop(trial.trial_id, None)
        member = self._live.pop(trial.trial_id, None)
        if member is not None:
            member.is_saving = False
            member.donors = ()

    def _stream_seed(self, purpose: str, number: int, count: int) -> int:
        """A seed of 64 bits for one purpose, one trial, and one of its changes."""
        text = f"pbt:{purpose}:{self._seed}:{number}:{count}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def _say_once(self, level: int, text: str) -> None:
        if level not in self._said:
            self._said.add(level)
            logger.log(level, "%s: %s", type(self).__name__, text)


@dataclass(slots=True, eq=False)
class Member:
    """What is known of a trial as one of the population.

    Attributes:
        trial_id: The trial.
        number: Its order of creation.
        score: The metric when it was last compared, more is better; None before.
        perturbed_at: Time of that, 0 before.
        num_changes: How often it was changed.
        donors: Those to choose from, while it pauses for an exploit.
        is_saving: Whether it was told to save or pause and has not been heard of since.
        checkpoint: What it had when it was told so.
    """

    trial_id: str
    number: int
    score: float | None = None
    perturbed_at: float = 0.0
    num_changes: int = 0
    donors: tuple[str, ...] = ()
    is_saving: bool = False
    checkpoint: Any = None

    def is_being_saved(self, trial: TrialView) -> bool:
        """Whether a checkpoint of the trial is still to come, as far as the experiment knows."""
        return self.is_saving and trial.status == "RUNNING" and trial.checkpoint == self.checkpoint


def _check_share(owner: str, field: str, value: Any, *, most: float) -> None:
    fix = f"use a number from 0 to {most:g}"
    check_number(owner, field, value, fix, least=0)
    if value > most:
        reject(owner, field, value, fix)


def _check_factors(owner: str, factors: object) -> None:
    fix = "use numbers > 0, such as (1.2, 0.8)"
    if not isinstance(factors, list | tuple) or not factors:
        reject(owner, "perturbation_factors", factors, fix)
    for factor in factors:
        check_number(owner, "perturbation_factors", factor, fix)
