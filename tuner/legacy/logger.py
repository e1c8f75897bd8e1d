"""The loggers of older APIs under the name of the module that they were imported from."""

from tuner.legacy.file_loggers import (
    DEFAULT_LOGGERS,
    CSVLogger,
    JsonLogger,
    TBXLogger,
    TF2Logger,
    TFLogger,
)
from tuner.legacy.trial_logger import Logger, NoopLogger
from tuner.legacy.unified_logger import UnifiedLogger

__all__ = [
    "DEFAULT_LOGGERS",
    "CSVLogger",
    "JsonLogger",
    "Logger",
    "NoopLogger",
    "TBXLogger",
    "TF2Logger",
    "TFLogger",
    "UnifiedLogger",
]
