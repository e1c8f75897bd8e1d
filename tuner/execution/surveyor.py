"""Asks Ray what the cluster has, in a thread: trials are not to wait for the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from tuner.execution import ray_cluster
from tuner.execution.cluster_survey import Survey
from tuner.execution.ray_cluster import Placement

logger = logging.getLogger(__name__)


class Surveyor:
    """One question at a time.

    Args:
        on_answer: Called with each answer, in the thread.
    """

    def __init__(self, on_answer: Callable[[Survey], None]) -> None:
        self._on_answer = on_answer
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="survey")
        self._is_asking = False

    def ask(self, waiting: dict[int, Placement]) -> None:
        """Asks, unless an answer is to come.

        Args:
            waiting: What is waited for, by the number of its slot.
        """
        if not self._is_asking:
            self._is_asking = True
            self._pool.submit(ray_cluster.survey, waiting).add_done_callback(self._take)

    def close(self) -> None:
        """Waits for no answer."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _take(self, answer: Future[Survey]) -> None:
        self._is_asking = False
        if answer.cancelled():
            return
        error = answer.exception()
        if error is not None:
            logger.warning("Ray did not tell what the cluster has: %s", error)
        else:
            self._on_answer(answer.result())
