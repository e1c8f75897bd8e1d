"""What a user trains, and what a trial can call while it runs."""

from tuner.placement import PlacementGroupFactory
from tuner.trainable.context import TuneContext
from tuner.trainable.registry import register_trainable
from tuner.trainable.session import get_checkpoint, get_context, report
from tuner.trainable.trainable import Trainable
from tuner.trainable.wrappers import with_parameters, with_resources

__all__ = [
    "PlacementGroupFactory",
    "Trainable",
    "TuneContext",
    "get_checkpoint",
    "get_context",
    "register_trainable",
    "report",
    "with_parameters",
    "with_resources",
]
