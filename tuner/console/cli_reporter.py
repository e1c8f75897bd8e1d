"""The status as blocks of text, printed one below the other."""

from __future__ import annotations

from tuner.console.table_reporter import TableReporter
from tuner.experiment.trial import Trial


class CLIReporter(TableReporter):
    """Prints a block of status with a table of trials every few seconds.

    Without `metric_columns`, the tuned metric, `mean_accuracy`, `mean_loss`,
    `episode_reward_mean` and up to `infer_limit` other numbers of the results are shown,
    then total time, iteration and timesteps. On a terminal, columns that do not fit are left
    out, parameters first; into a pipe all are printed.

    Args:
        metric_columns: Names of the metrics to show, or a dictionary of names and titles.
        parameter_columns: Names of the parameters to show, or a dictionary of names and
            titles; all that the search chooses, without it.
        total_samples: How many trials there will be, if `fit()` cannot know.
        max_progress_rows: Rows of the table at most.
        max_error_rows: Rows of the table of failed trials at most.
        max_column_length: Longest title or value, in characters.
        max_report_frequency: Seconds between two blocks at least.
        infer_limit: How many metrics to choose without `metric_columns`.
        print_intermediate_tables: False prints the table only at the end.
        metric: Metric that tells the best trial; the experiment's, without it.
        mode: `"min"` or `"max"`, needed with `metric`.
        sort_by_metric: Below the running trials, show those with the best results, best first,
            rather than the latest.

    Raises:
        ConfigError: a value cannot work.

    Example:
        >>> reporter = CLIReporter(metric_columns=["loss"], max_report_frequency=30)
        >>> reporter.add_metric_column("training_iteration", "iter")
        >>> reporter.should_report([]), reporter.should_report([])
        (True, False)
    """

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Prints the block."""
        self._print(self._progress_str(trials, done, *sys_info))

    def _print(self, msg: str) -> None:
        print(msg, flush=True)
