"""How long a trial waits for resources of a cluster, and what the user is told meanwhile."""

from __future__ import annotations

import logging
import math

from tuner.bundles import sum_bundles
from tuner.execution.cluster_survey import Survey
from tuner.execution.process_executor import Needs

logger = logging.getLogger(__name__)

_WARN_OF_OTHERS_AFTER_S = 10.0
_AUTOSCALER_WITHIN_S = 900.0
_NODES_WITHIN_S = 60.0


class Patience:
    """Decides for what needs a trial has waited long enough.

    Args:
        limit_s: Seconds to wait for what the nodes cannot give; None for the default, which is
            less where no autoscaler adds nodes.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._given_up: set[Needs] = set()
        self._warned: set[Needs] = set()

    def look(self, wanted: Needs, waited_s: float, survey: Survey) -> str | None:
        """Why a trial that has waited so long is to fail; None if it is to wait on."""
        if survey.can_place(wanted.bundles, wanted.strategy):
            if waited_s >= _WARN_OF_OTHERS_AFTER_S:
                self._warn(wanted, f"a trial waits for {wanted}, which others use")
            return None
        limit_s = self._limit_s
        if limit_s is None:
            limit_s = _AUTOSCALER_WITHIN_S if survey.has_autoscaler else _NODES_WITHIN_S
        if waited_s < limit_s:
            problem = _problem(wanted, survey)
            at_most = "" if limit_s == math.inf else f" {limit_s:.0f} s at most"
            self._warn(wanted, f"{problem}; it waits{at_most} for more nodes")
            return None
        self._given_up.add(wanted)
        return f"{_problem(wanted, survey)}, and has waited {waited_s:.0f} s for more nodes"

    def refuses(self, wanted: Needs, survey: Survey) -> str | None:
        """Why a trial is to fail at once: another one has waited in vain for the same."""
        if wanted not in self._given_up:
            return None
        if survey.can_place(wanted.bundles, wanted.strategy):
            self._given_up.remove(wanted)
            return None
        return _problem(wanted, survey)

    def forget(self, wanted: Needs) -> None:
        """Notes that such needs were met: whoever waits for them next is told anew."""
        self._warned.discard(wanted)

    def _warn(self, wanted: Needs, message: str) -> None:
        if wanted not in self._warned:
            self._warned.add(wanted)
            logger.warning("%s", message)


def _problem(wanted: Needs, survey: Survey) -> str:
    there_are = survey.nodes_in_words(sum_bundles(wanted.bundles))
    return f"a trial asks for {wanted}, more than the nodes have ({there_are})"
