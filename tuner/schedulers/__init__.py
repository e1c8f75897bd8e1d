"""What decides, at each result, whether a trial continues, pauses or stops."""

from tuner.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from tuner.schedulers.change import Change, Stop
from tuner.schedulers.fifo import FIFOScheduler
from tuner.schedulers.pbt import PopulationBasedTraining
from tuner.schedulers.pbt_replay import PopulationBasedTrainingReplay
from tuner.schedulers.scheduler import ExperimentView, TrialScheduler, TrialView

__all__ = [
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "Change",
    "ExperimentView",
    "FIFOScheduler",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "Stop",
    "TrialScheduler",
    "TrialView",
]
