"""Brings what runs are still to be given to the server, several runs at a time, each in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, wait

from tuner.integrations.mlflow_destination import Destination, Refused, Unavailable
from tuner.integrations.mlflow_runs import Run, Runs, tags_of
from tuner.integrations.mlflow_values import MAX_METRICS

_SMALLEST_BATCH = 50


class Delivery:
    """Sends to one server; every method may raise `Unavailable` and can be called again then.

    Args:
        destination: The server.
        runs: What it is to be given.
        experiment: What the runs are found by.
        sender: Whose runs they are.
        on_success: Called when the server has taken something, in any thread.
        on_file: Called before a file is sent, with its size in bytes, in any thread.

    Attributes:
        runs: What it is to be given.
    """

    def __init__(
        self,
        destination: Destination,
        runs: Runs,
        experiment: str,
        sender: str,
        on_success: Callable[[], None],
        on_file: Callable[[int], None],
    ) -> None:
        self.runs = runs
        self._destination = destination
        self._experiment = experiment
        self._sender = sender
        self._on_success = on_success
        self._on_file = on_file
        self._batch_size = MAX_METRICS
        self._attempted: set[str] = set()  # runs whose creation may have come through or not
        self._refused: list[str] = []
        self._pool = ThreadPoolExecutor(destination.requests_at_a_time, "mlflow")

    @property
    def refused(self) -> list[str]:
        """What the server will never take, in words."""
        return list(dict.fromkeys([*self._refused, *self._destination.refused]))

    def send(self) -> None:
        """Sends everything but files."""
        self._for_each(self._send_run, [*self.runs.pending])

    def send_files(self, trial_ids: Collection[str] | None) -> None:
        """Sends the files of these trials, or of all, if that is wanted."""
        runs = [
            run
            for run in self.runs.pending
            if run.wants_artifacts and (trial_ids is None or run.trial.trial_id in trial_ids)
        ]
        self._for_each(self._send_files, runs)

    def _for_each(self, send: Callable[[Run], None], runs: Collection[Run]) -> None:
        """Sends something of each run, as many at a time as the server likes."""
        sent = [self._pool.submit(send, run) for run in runs]
        try:
            for each in sent:
                each.result()
        finally:
            for each in sent:
                each.cancel()
            wait(sent)

    def _send_files(self, run: Run) -> None:
        try:
            self._destination.log_files(run, self._on_file, self._on_success)
        except Refused as error:
            self._refused.append(f"files of {run.trial}: {error}")
        run.wants_artifacts = 0
        run.settled_files.clear()
        self._on_success()
        self.runs.settle(run)

    def _send_run(self, run: Run) -> None:
        try:
            self._send_all(run)
        except Refused as error:
            self._refused.append(f"{run.trial}: {error}")
            self.runs.drop(run)

    def _send_all(self, run: Run) -> None:
        run_id = run.run_id = run.run_id or self._create(run)
        while run.has_batch:
            self._send_batch(run, run_id)
        if run.status != run.known_status:
            self._destination.set_status(run_id, run.status, run.end_time)
            run.known_status = run.status
            self._on_success()
        if run.long_params:
            self._send_long_params(run, run_id)
        self.runs.settle(run)

    def _send_long_params(self, run: Run, run_id: str) -> None:
        try:
            self._destination.log_texts(run_id, run.long_params)
        except Refused as error:
            self._refused.append(f"params.json of {run.trial}: {error}")
        run.long_params = {}
        self._on_success()

    def _send_batch(self, run: Run, run_id: str) -> None:
        batch = run.batch(self._batch_size)
        try:
            self._destination.log(run_id, batch)
        except Unavailable:  # it may be too slow for as many
            self._batch_size = max(self._batch_size // 2, _SMALLEST_BATCH)
            raise
        self._batch_size = min(self._batch_size * 2, MAX_METRICS)
        run.sent(batch)
        self._on_success()

    def _create(self, run: Run) -> str:
        if run.key in self._attempted:
            found = self._destination.find(self._experiment, self._sender).get(run.key)
            if found is not None:
                return found.run_id
        self._attempted.add(run.key)
        tags = tags_of(run, self._experiment, self._sender)
        run_id = self._destination.create(str(run.trial), tags, run.trial.start_time or 0.0)
        self._attempted.discard(run.key)
        self._on_success()
        return run_id
