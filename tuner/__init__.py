"""Hyperparameter tuning: everything that a script needs daily is `tuner.NAME`.

Names are imported when they are first used, so that `import tuner` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tuner.version import __version__

if TYPE_CHECKING:
    from tuner import integrations as integrations
    from tuner.analysis import Analysis as Analysis
    from tuner.analysis.experiment_analysis import ExperimentAnalysis
    from tuner.by_name import create_scheduler, create_searcher
    from tuner.callbacks.callback import Callback
    from tuner.callbacks.logger import LoggerCallback
    from tuner.checkpoint import Checkpoint
    from tuner.config import (
        CheckpointConfig,
        FailureConfig,
        ResumeConfig,
        RunConfig,
        SyncConfig,
        TuneConfig,
    )
    from tuner.console.cli_reporter import CLIReporter
    from tuner.console.notebook_reporter import JupyterNotebookReporter
    from tuner.console.progress_reporter import ProgressReporter
    from tuner.errors import TuneError, TunerError
    from tuner.execution.inline import InlineExecutor
    from tuner.execution.local import LocalExecutor
    from tuner.execution.ray import RayExecutor
    from tuner.execution.simulated import SimulatedExecutor
    from tuner.integrations.rllib import register_env
    from tuner.legacy import stopper as stopper
    from tuner.legacy import track as track
    from tuner.legacy.checkpoint_dir import checkpoint_dir as checkpoint_dir
    from tuner.legacy.durable_trainable import DurableTrainable as DurableTrainable
    from tuner.legacy.durable_trainable import durable as durable
    from tuner.legacy.experiment import Experiment
    from tuner.legacy.protected_function import function as function
    from tuner.legacy.run import run
    from tuner.legacy.run_experiments import run_experiments
    from tuner.legacy.session_names import get_trial_dir as get_trial_dir
    from tuner.legacy.session_names import get_trial_id as get_trial_id
    from tuner.legacy.session_names import get_trial_name as get_trial_name
    from tuner.legacy.session_names import is_session_enabled as is_session_enabled
    from tuner.placement import PlacementGroupFactory
    from tuner.result import Result
    from tuner.result_grid import ResultGrid
    from tuner.search_space import (
        choice,
        grid_search,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from tuner.server.config import ServerConfig
    from tuner.stoppers.stopper import Stopper
    from tuner.trainable.context import TuneContext
    from tuner.trainable.learning_curves import LearningCurves
    from tuner.trainable.registry import register_trainable
    from tuner.trainable.session import get_checkpoint, get_context, report
    from tuner.trainable.trainable import Trainable
    from tuner.trainable.wrappers import with_parameters, with_resources
    from tuner.tuner import Tuner
    from tuner.warm_start import EvaluatedPoints, from_experiment

_MODULES = {
    "analysis.experiment_analysis": ("ExperimentAnalysis",),
    "by_name": ("create_scheduler", "create_searcher"),
    "callbacks.callback": ("Callback",),
    "console.cli_reporter": ("CLIReporter",),
    "callbacks.logger": ("LoggerCallback",),
    "console.notebook_reporter": ("JupyterNotebookReporter",),
    "console.progress_reporter": ("ProgressReporter",),
    "checkpoint": ("Checkpoint",),
    "config": (
        "CheckpointConfig",
        "FailureConfig",
        "ResumeConfig",
        "RunConfig",
        "SyncConfig",
        "TuneConfig",
    ),
    "errors": ("TuneError", "TunerError"),
    "execution.inline": ("InlineExecutor",),
    "execution.local": ("LocalExecutor",),
    "execution.ray": ("RayExecutor",),
    "execution.simulated": ("SimulatedExecutor",),
    "integrations.rllib": ("register_env",),
    "legacy.experiment": ("Experiment",),
    "legacy.run": ("run",),
    "legacy.run_experiments": ("run_experiments",),
    "placement": ("PlacementGroupFactory",),
    "result": ("Result",),
    "result_grid": ("ResultGrid",),
    "search_space": (
        "choice",
        "grid_search",
        "lograndint",
        "loguniform",
        "qlograndint",
        "qloguniform",
        "qrandint",
        "qrandn",
        "quniform",
        "randint",
        "randn",
        "sample_from",
        "uniform",
    ),
    "server.config": ("ServerConfig",),
    "stoppers.stopper": ("Stopper",),
    "trainable.context": ("TuneContext",),
    "trainable.learning_curves": ("LearningCurves",),
    "trainable.registry": ("register_trainable",),
    "trainable.session": ("get_checkpoint", "get_context", "report"),
    "trainable.trainable": ("Trainable",),
    "trainable.wrappers": ("with_parameters", "with_resources"),
    "tuner": ("Tuner",),
    "warm_start": ("EvaluatedPoints", "from_experiment"),
}
_OLD_MODULES = {
    "analysis": ("Analysis",),
    "legacy.checkpoint_dir": ("checkpoint_dir",),
    "legacy.durable_trainable": ("DurableTrainable", "durable"),
    "legacy.protected_function": ("function",),
    "legacy.session_names": (
        "get_trial_dir",
        "get_trial_id",
        "get_trial_name",
        "is_session_enabled",
    ),
}
_HOMES = {name: module for module, names in (_MODULES | _OLD_MODULES).items() for name in names}
_SUBMODULES = frozenset(
    {
        "analysis",
        "callbacks",
        "execution",
        "experiment",
        "integrations",
        "result",
        "schedulers",
        "search",
        "server",
        "stoppers",
        "trainable",
    }
)
_OLD_SUBMODULES = {"stopper": "legacy.stopper", "track": "legacy.track"}

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "EvaluatedPoints",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "InlineExecutor",
    "JupyterNotebookReporter",
    "LearningCurves",
    "LocalExecutor",
    "LoggerCallback",
    "PlacementGroupFactory",
    "ProgressReporter",
    "RayExecutor",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "ServerConfig",
    "SimulatedExecutor",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "TunerError",
    "__version__",
    "choice",
    "create_scheduler",
    "create_searcher",
    "from_experiment",
    "get_checkpoint",
    "get_context",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "uniform",
    "with_parameters",
    "with_resources",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"tuner.{name}")
    if name in _OLD_SUBMODULES:
        return importlib.import_module(f"tuner.{_OLD_SUBMODULES[name]}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tuner' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tuner.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
