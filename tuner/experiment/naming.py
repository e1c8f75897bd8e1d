"""Names of trials and of their folders."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container
from typing import Any

from tuner.bundles import Bundles
from tuner.errors import ConfigError
from tuner.experiment.events import TrialCreated
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial import Trial
from tuner.flatten import flatten
from tuner.search_space.checks import same
from tuner.search_space.tags import format_tag
from tuner.search_space.variants import evaluated_params
from tuner.utf8 import is_utf8

_MAX_DIRNAME = 130  # bytes
_UNSAFE = re.compile(r"[^\w.,=+@%-]+")


def new_trial(
    spec: ExperimentSpec,
    number: int,
    config: dict[str, Any],
    bundles: Bundles,
    now: float,
    taken: Container[str] = (),
    suggestion: dict[str, Any] | None = None,
    *,
    is_added: bool = False,
) -> TrialCreated:
    """The fact that a trial with this configuration is created, with all its names.

    Args:
        spec: What the experiment is to do.
        number: Order of creation.
        config: The configuration.
        bundles: Its resources.
        now: Unix time in seconds.
        taken: Names of the folders of other trials.
        suggestion: The part of the configuration that the searcher chose, if it said so.
        is_added: Whether a request added it.

    Raises:
        ConfigError: a creator of names raises, or returns something else.
    """
    evaluated = _evaluated(spec, config, suggestion or {})
    tag = f"{number}_{format_tag(evaluated)}" if evaluated else str(number)
    trial = Trial(
        trial_id=trial_id(spec, number),
        number=number,
        trainable_name=spec.trainable_name,
        experiment_tag=tag,
        config=config,
        evaluated_params=evaluated,
        bundles=bundles,
        path=os.path.join(spec.path, "unnamed"),
    )
    if spec.name_creator is not None:
        trial.trial_name = str(_called("trial_name_creator", spec.name_creator, trial))
    return TrialCreated(
        time=now,
        trial_id=trial.trial_id,
        number=number,
        trainable_name=spec.trainable_name,
        trial_name=trial.trial_name if spec.name_creator is not None else "",
        experiment_tag=tag,
        dirname=_free(_dirname(spec, trial), spec, trial, taken),
        config=config,
        evaluated_params=evaluated,
        bundles=bundles,
        chosen_objects=spec.param_space.chosen_objects(config),
        is_added=is_added,
        strategy=spec.strategy_for(config) if bundles else "PACK",
    )


def _evaluated(
    spec: ExperimentSpec, config: dict[str, Any], suggestion: dict[str, Any]
) -> dict[str, Any]:
    """The values that were searched for, by flat name; what is chosen as a whole is one of them."""
    chosen = evaluated_params(spec.param_space, config)
    others = {
        name: value
        for name, value in flatten(suggestion).items()
        if not any(name == each or name.startswith(f"{each}/") for each in chosen)
    }
    return {**chosen, **others}


def changed_values(before: dict[Any, Any], after: dict[Any, Any]) -> dict[str, Any]:
    """The leaves of `after` that `before` lacks, or has otherwise, by their flat keys.

    Example:
        >>> changed_values({"lr": 1, "net": {"width": 8}}, {"lr": 1, "net": {"width": 9, "b": 2}})
        {'net/width': 9, 'net/b': 2}
    """
    old, new = flatten(before), flatten(after)
    return {key: new[key] for key in new if key not in old or not same(old[key], new[key])}


def changed_params(
    spec: ExperimentSpec, trial: Trial, config: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The chosen values and the tag of a trial that gets another configuration.

    The values are those that were chosen before, and those that differ now.
    """
    after = flatten(config)
    evaluated = {name: after[name] for name in trial.evaluated_params if name in after}
    evaluated |= changed_values(trial.config, config) | evaluated_params(spec.param_space, config)
    number = trial.experiment_tag.partition("_")[0]
    return evaluated, f"{number}_{format_tag(evaluated)}"


def trial_id(spec: ExperimentSpec, number: int) -> str:
    """The id of the trial with this number."""
    return f"{spec.id_prefix}_{number:05d}"


def is_of_run(dirname: str, id_prefix: str) -> bool:
    """Whether a trial's folder is named after an id that begins like this, as all are by default.

    Example:
        >>> is_of_run("train_5ab91_00007_7_lr=0.1", "5ab91")
        True
    """
    return re.fullmatch(rf"(.*_)?{re.escape(id_prefix)}_\d{{5,}}(_.*)?", dirname) is not None


def _dirname(spec: ExperimentSpec, trial: Trial) -> str:
    if spec.dirname_creator is None:
        return _cut(_UNSAFE.sub("_", f"{trial}_{trial.experiment_tag}"))
    name = _called("trial_dirname_creator", spec.dirname_creator, trial)
    if not isinstance(name, str) or name in ("", ".", "..") or os.path.basename(name) != name:
        raise ConfigError(
            f"TuneConfig: trial_dirname_creator returned {name!r}; it must return the name of one "
            "folder, without separators"
        )
    if not is_utf8(name):
        raise ConfigError(
            f"TuneConfig: trial_dirname_creator returned {name!r}, which UTF-8 cannot say; "
            "return a name without lone surrogates"
        )
    return name


def _called(field: str, creator: Callable[[Trial], Any], trial: Trial) -> Any:
    try:
        return creator(trial)
    except Exception as error:
        raise ConfigError(
            f"TuneConfig: {field} raised {type(error).__name__}: {error} for trial "
            f"{trial.trial_id}; it gets the Trial and must return a name"
        ) from error


def _free(name: str, spec: ExperimentSpec, trial: Trial, taken: Container[str]) -> str:
    """The name, told apart by the trial's id if another folder has it."""
    if name in taken or name in spec.taken_dirnames:
        return f"{name}_{trial.trial_id}"
    return name


def _cut(name: str) -> str:
    return name.encode()[:_MAX_DIRNAME].decode(errors="ignore")
