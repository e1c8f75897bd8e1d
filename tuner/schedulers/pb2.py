"""Population based bandits: PBT that chooses hyperparameters by a model of what trials gained."""

from __future__ import annotations

import importlib.util
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tuner.errors import MissingDependencyError
from tuner.schedulers.arm import Arm
from tuner.schedulers.bounds import Bounds
from tuner.schedulers.change import Change, Stop
from tuner.schedulers.pbt import PopulationBasedTraining
from tuner.schedulers.scheduler import ExperimentView, TrialView

_MOST_GAINS = 200  # intervals that the model is fitted to, so that a choice takes a second at most


class PB2(PopulationBasedTraining):
    """Population based bandits (PB2): population based training for small populations.

    Source: Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with
    Population-Based Bandits", 2020 (arXiv:2002.02518), algorithm 1.

    Trials are compared, paused and go on from better ones as with `PopulationBasedTraining`. But
    the new hyperparameters are not the donor's, changed at random: they maximize an upper
    confidence bound on what the next interval will gain, by a Gaussian process over time, reward
    and hyperparameters that is fitted to what the last 200 intervals have gained. What the other
    trials are training with counts as tried. As long as nothing is known, they are drawn from the
    bounds.

    It needs scikit-learn: `pip install "tuner[pb2]"`.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        metric: The reported value to optimize, `"a/b"` for a nested one; None takes it from
            `TuneConfig`.
        mode: `"min"` or `"max"`; None takes it from `TuneConfig`.
        perturbation_interval: From one comparison of a trial to its next, in units of `time_attr`.
        hyperparam_bounds: What is changed, by name: `[lowest, highest]`, or a domain with bounds
            such as `tune.loguniform(1e-5, 1e-1)`, which the model then sees on a logarithmic axis,
            or a dictionary of these for nested configurations. Hyperparameters that the
            `param_space` lacks are drawn from here at first, as whole numbers between whole
            bounds. Whole numbers of a configuration stay whole.
        quantile_fraction: The share of trials in the lower quantile, and in the upper one; 0 to
            0.5. With 0 nothing is exploited.
        log_config: Whether the policy files are written.
        require_attrs: Whether a result without `time_attr` or `metric` is an error; otherwise its
            trial goes on.
        synch: Whether trials wait for each other at each interval and are compared all at once;
            otherwise each is compared when it gets there.
        custom_explore_fn: Gets the chosen configuration, which it may change, and returns the one
            to go on with.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when a trial reports no
            `metric` or `time_attr`.
        MissingDependencyError: scikit-learn is not installed.

    Example:
        >>> scheduler = PB2(
        ...     time_attr="training_iteration",
        ...     metric="reward",
        ...     mode="max",
        ...     perturbation_interval=5,
        ...     hyperparam_bounds={"lr": [1e-4, 1e-1], "horizon": [16, 512]},
        ... )
        >>> sorted(scheduler.complete_config({"lr": 0.01}, number=0))
        ['horizon', 'lr']
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if importlib.util.find_spec("sklearn") is None:
            raise MissingDependencyError(
                f"{type(self).__name__} needs scikit-learn, which is not installed: "
                'pip install "tuner[pb2]"'
            )
        self._bounds = Bounds(type(self).__name__, hyperparam_bounds or {})
        super().__init__(
            time_attr=time_attr,
            metric=metric,
            mode=mode,
            perturbation_interval=perturbation_interval,
            hyperparam_mutations=self._bounds.domains,
            quantile_fraction=quantile_fraction,
            resample_probability=0,
            custom_explore_fn=custom_explore_fn,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
        )
        # Intervals that were trained, and what was gained per round, the newest last.
        self._gains: deque[tuple[Arm, float]] = deque(maxlen=_MOST_GAINS)
        # For each trial, the interval that it is in, or was in last.
        self._arms: dict[str, Arm] = {}
        # What a call of `changes` has chosen so far; no trial shows it yet. Empty between calls.
        self._chosen: list[Arm] = []

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Compare the trial with the others if it has trained for an interval."""
        if trial.trial_id not in self._arms and self._is_complete(result):
            time = self._time(trial.trial_id, result)
            self._begin(trial, time, self._reward(trial.trial_id, result))
        return super().on_trial_result(experiment, trial, result)

    def on_trial_change(self, experiment: ExperimentView, trial: TrialView, change: Change) -> None:
        """Note with what the trial goes on, and from where."""
        super().on_trial_change(experiment, trial, change)
        point = self._bounds.to_point(trial.config)
        lent = self._arms.get(change.donor or "")
        if lent is not None and point is not None:
            self._arms[trial.trial_id] = replace(lent, point=point)
        elif change.donor is not None:
            self._arms.pop(trial.trial_id, None)

    def changes(self, experiment: ExperimentView) -> Iterable[Change | Stop]:
        """Exploits of trials that have paused for it; with `synch`, once all have paused."""
        wanted = [*super().changes(experiment)]
        self._chosen.clear()
        return wanted

    def _on_perturbation(
        self, trial: TrialView, result: dict[str, Any], *, time: float, score: float
    ) -> None:
        """Learn what the interval has gained, and begin the next one."""
        arm = self._arms.get(trial.trial_id)
        rounds = time / self._perturbation_interval
        if arm is not None and math.isfinite(score) and rounds > arm.time:
            self._gains.append((arm, (score - arm.reward) / (rounds - arm.time)))
        self._begin(trial, time, score)

    def _begin(self, trial: TrialView, time: float, score: float) -> None:
        point = self._bounds.to_point(trial.config)
        if point is not None and math.isfinite(score):
            self._arms[trial.trial_id] = Arm(time / self._perturbation_interval, score, point)
        else:
            self._arms.pop(trial.trial_id, None)

    def _new_config(
        self, experiment: ExperimentView, trial: TrialView, donor: TrialView, seed: int
    ) -> dict[str, Any]:
        """The donor's configuration with the hyperparameters that promise the most."""
        lent = self._arms.get(donor.trial_id)
        if lent is None or not self._gains:
            config = self._bounds.to_config(self._drawn(seed), donor.config)
            return self._custom_explored(config, seed)
        from tuner.schedulers.gp_bandit import choose

        others = [self._arms.get(each) for each in self._live if each != trial.trial_id]
        running = [*(arm for arm in others if arm is not None), *self._chosen]
        point = choose(self._gains, running, time=lent.time, reward=lent.reward, seed=seed)
        self._chosen.append(replace(lent, point=point))
        return self._custom_explored(self._bounds.to_config(point, donor.config), seed)

    def _drawn(self, seed: int) -> list[float]:
        import numpy as np

        return [float(place) for place in np.random.default_rng(seed).random(len(self._bounds))]
