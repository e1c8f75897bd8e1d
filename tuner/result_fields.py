"""The names of the fields that every result has beside the user's metrics."""

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
