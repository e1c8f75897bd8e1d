"""What decides, at each result, whether a trial continues, pauses or stops."""

from tuner.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from tuner.schedulers.change import Change, Stop
from tuner.schedulers.fifo import FIFOScheduler
from tuner.schedulers.hb_bohb import HyperBandForBOHB
from tuner.schedulers.hyperband import HyperBandScheduler
from tuner.schedulers.median_stopping import MedianStoppingRule
from tuner.schedulers.pb2 import PB2
from tuner.schedulers.pbt import PopulationBasedTraining
from tuner.schedulers.pbt_replay import PopulationBasedTrainingReplay
from tuner.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
    ResourceChangingScheduler,
)
from tuner.schedulers.scheduler import ExperimentView, TrialScheduler, TrialView

__all__ = [
    "PB2",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "Change",
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "ExperimentView",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
    "Stop",
    "TrialScheduler",
    "TrialView",
]
