"""Calls to a remote filesystem that may fail or hang, and are tried again."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from tuner.errors import StorageError, TunerError

if TYPE_CHECKING:
    import tenacity

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_ANSWER_TIMEOUT_S = 20.0
_FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 10.0


def within(timeout_s: float, call: Callable[[], _T]) -> _T:
    """The result of a call, which is given up, not ended, when it takes too long.

    Raises:
        TimeoutError: It did not return in time.
        Whatever the call raises.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="transfer", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    answer: _T = result
    return answer


@contextlib.contextmanager
def explained(where: str, use: str) -> Iterator[None]:
    """While entered, what a filesystem's library raises becomes an error that names the storage.

    Args:
        where: The storage's URL.
        use: What the storage cannot be if something fails: `"read"`, `"written to"`.

    Raises:
        StorageError: In its place.
    """
    try:
        yield
    except TunerError:
        raise
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise StorageError(
            f"storage_path: {where!r} cannot be {use} ({type(error).__name__}: {why}); check that "
            "the bucket or folder exists, and the credentials and the address of the server"
        ) from error


def answered(call: Callable[[], _T], where: str, use: str) -> _T:
    """The result of a call that every storage answers soon, so that a wrong one is noticed.

    Args:
        call: Does it.
        where: The storage's URL.
        use: What the storage cannot be if that fails: `"read"`, `"written to"`.

    Raises:
        StorageError: It failed, or did not return in time.
        ExperimentLockedError: The call has found a lock.
    """
    with explained(where, use):
        return within(_ANSWER_TIMEOUT_S, call)


def retried(
    call: Callable[[], _T],
    *,
    what: str,
    timeout_s: float,
    give_up: Callable[[float], bool] | None = None,
) -> _T:
    """The result of a call that is tried again, after growing and random waits, when it fails.

    Args:
        call: Does it; doing it twice must do no harm.
        what: What it does, for messages: `"the upload of …"`.
        timeout_s: Seconds that one try may take.
        give_up: Whether to give up after so many seconds; without it, after `timeout_s`.

    Raises:
        StorageError: It failed until it was given up.
    """
    import tenacity

    give_up = give_up or (lambda elapsed_s: elapsed_s >= timeout_s)

    def warn(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1:
            assert state.outcome is not None
            logger.warning("%s failed and is tried again: %s", what, one_line(state.outcome))

    retrying = tenacity.Retrying(
        stop=lambda state: give_up(state.seconds_since_start or 0.0),
        wait=tenacity.wait_random_exponential(_FIRST_WAIT_S, LONGEST_WAIT_S),
        retry=tenacity.retry_if_exception_type(Exception),
        before_sleep=warn,
    )
    try:
        answer: _T = retrying(within, timeout_s, call)
    except tenacity.RetryError as error:
        cause = error.last_attempt.exception()
        tries = error.last_attempt.attempt_number
        raise StorageError(f"{what} failed {tries} times, the last time with {cause!r:.500}") from (
            cause
        )
    return answer


def one_line(outcome: Any) -> str:
    """What a try ended with."""
    return f"{outcome.exception()!r:.300}"
