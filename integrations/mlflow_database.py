"""A database file that MLflow makes: by one process at a time, as two at once spoil it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from tuner.errors import TunerError

_SQLITE = "sqlite:///"
_HALF_MADE = re.compile(r"_alembic_tmp_\w+ already exists|duplicate column name")


def opened_alone(uri: str) -> AbstractContextManager[None]:
    """While entered, no other process of this user and machine opens the same database file.

    Args:
        uri: A tracking URI; nothing is waited for if it is no file of sqlite.

    Raises:
        TunerError: The making of its tables was cut off, which MLflow cannot go on with.
    """
    return _alone(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else nullcontext()


def is_of_database(error: BaseException | None) -> bool:
    """Whether a database, not a server, raised this or what caused it."""
    while error is not None:
        if any(kind.__module__.startswith("sqlalchemy.") for kind in type(error).__mro__):
            return True
        error = error.__cause__
    return False


@contextmanager
def _alone(path: str) -> Iterator[None]:
    with suppress(ImportError):  # takes a second, which those that wait would add up
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
    name = f"tuner_mlflow_{os.getuid()}_{digest}.lock"
    with open(os.path.join(tempfile.gettempdir(), name), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        except Exception as error:
            if is_of_database(error) and _HALF_MADE.search(str(error)):
                raise TunerError(
                    f"MLflow cannot use {path}, whose tables were made only in part: "
                    f"name a new file, or remove this one if it has no runs ({error})"
                ) from error
            raise
