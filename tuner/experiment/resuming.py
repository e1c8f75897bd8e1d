"""What becomes of each trial when an experiment goes on after a restore."""

from __future__ import annotations

from tuner.config import ResumeConfig
from tuner.experiment.decisions import PAUSE, STOP, Decisions
from tuner.experiment.trial import ERROR, PAUSED, RUNNING, TERMINATED, Trial

_ResumeType = ResumeConfig.ResumeType


def reached_end(
    trial: Trial, decisions: Decisions, *, saves_when_told: bool, checkpoint_at_end: bool
) -> str | None:
    """The status of a running trial that had only to be ended when the controller died.

    None if it has more to do: to train on, or to be saved.
    """
    told = decisions.told(trial)
    if told == PAUSE and not decisions.is_held(trial):
        return PAUSED if trial.is_saved or not saves_when_told else None
    if told == STOP:
        return TERMINATED if trial.is_saved or not checkpoint_at_end else None
    return None


def taken_up(
    trial: Trial, decisions: Decisions, resume_config: ResumeConfig, *, limits_changed: bool
) -> str | None:
    """How a restore has a trial go on, SKIP to end it; None to leave it as it is."""
    if trial.status == ERROR:
        return None if resume_config.errored == _ResumeType.SKIP else resume_config.errored
    if trial.status == TERMINATED:
        if resume_config.finished != _ResumeType.SKIP:
            return resume_config.finished
        return _ResumeType.RESUME if limits_changed and decisions.may_go_on(trial) else None
    if resume_config.unfinished == _ResumeType.SKIP:
        return _ResumeType.SKIP
    if trial.status == PAUSED and decisions.is_paused_by_request(trial):
        return None
    if resume_config.unfinished == _ResumeType.RESTART:
        return _ResumeType.RESTART if trial.attempt else None
    was_cut_off = trial.status == RUNNING or decisions.is_held(trial)
    return _ResumeType.RESUME if was_cut_off else None
