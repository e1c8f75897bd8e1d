"""What ends trials and experiments."""

from tuner.stoppers.coercion import coerce
from tuner.stoppers.combined import CombinedStopper
from tuner.stoppers.experiment_plateau import ExperimentPlateauStopper
from tuner.stoppers.function import FunctionStopper
from tuner.stoppers.maximum_iteration import MaximumIterationStopper
from tuner.stoppers.metric_threshold import MetricThresholdStopper
from tuner.stoppers.noop import NoopStopper
from tuner.stoppers.stopper import Stopper
from tuner.stoppers.timeout import TimeoutStopper
from tuner.stoppers.trial_plateau import TrialPlateauStopper

__all__ = [
    "CombinedStopper",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "MetricThresholdStopper",
    "NoopStopper",
    "Stopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
    "coerce",
]
