"""The fields that every result has beside the user's metrics."""

from typing import Any

AUTOFILLED = frozenset(
    {
        "checkpoint_dir_name",
        "date",
        "done",
        "episodes_total",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "time_since_restore",
        "time_this_iter_s",
        "time_total_s",
        "timestamp",
        "timesteps_total",
        "training_iteration",
        "trial_id",
    }
)


ANONYMOUS_METRIC = "_metric"
"""The metric's name where a trainable reports a bare number."""

SHOULD_CHECKPOINT = "should_checkpoint"
"""A class trainable whose result has a true value under this name is saved with it."""


def without_config(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the trial's configuration, which policies and callbacks see in it."""
    return {name: value for name, value in result.items() if name != "config"}
