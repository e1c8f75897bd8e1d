"""Asks Ray what the cluster has, in a thread: trials are not to wait for the answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

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
        self._is_asking = False
        self._is_closed = False

    def ask(self, waiting: dict[int, Placement]) -> None:
        """Asks, unless an answer is to come.

        Args:
            waiting: What is waited for, by the number of its slot.
        """
        if not self._is_asking:
            self._is_asking = True
            # A script waits for the threads of a pool at its end, also if Ray never answers.
            threading.Thread(target=self._run, args=[waiting], name="survey", daemon=True).start()

    def close(self) -> None:
        """Waits for no answer."""
        self._is_closed = True

    def _run(self, waiting: dict[int, Placement]) -> None:
        try:
            survey = ray_cluster.survey(waiting)
        except Exception as error:
            if not self._is_closed:
                logger.warning("Ray did not tell what the cluster has: %s", error)
        else:
            if not self._is_closed:
                self._on_answer(survey)
        finally:
            self._is_asking = False
