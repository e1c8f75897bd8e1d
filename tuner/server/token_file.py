"""The files by which programs of the same user on the same machine find a server's token.

They lie in a folder of this machine that is the user's alone, never in an experiment's folder,
which may be uploaded or shared.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

from tuner.errors import ConfigError
from tuner.liveness import is_alive


def write_token(port: int, content: dict[str, Any]) -> str:
    """Writes the file of a server, which nobody else can read at any moment.

    Args:
        port: Where the server listens.
        content: Its `address` and `token`, and the `pid` of its controller.

    Returns:
        The file's path.

    Raises:
        ConfigError: The folder is somebody else's.
    """
    folder = _own_folder()
    path = os.path.join(folder, _name(port))
    fd, temporary = tempfile.mkstemp(dir=folder)  # made with mode 0600
    with open(fd, "w") as file:
        json.dump(content, file)
    os.replace(temporary, path)
    return path


def find_token(port: int) -> str | None:
    """The token of this user's server on a port of this machine, None if there is none."""
    for folder in _folders():
        path = os.path.join(folder, _name(port))
        with contextlib.suppress(OSError, ValueError, KeyError):
            if not _is_private(os.lstat(folder)):
                continue
            with open(path) as file:
                content = json.load(file)
            if is_alive(content["pid"], is_ours=True):
                token: str = content["token"]
                return token
    return None


def remove_token(path: str, token: str) -> None:
    """Removes a server's file, unless another server has put its own there."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        with open(path) as file:
            if json.load(file)["token"] != token:
                return
        os.remove(path)


def _name(port: int) -> str:
    return f"server-{port}.json"


def _folders() -> Iterator[str]:
    """Where the files may lie, best first; what starts later may lack the variable."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if os.path.isdir(runtime) and os.stat(runtime).st_uid == os.getuid():
        yield os.path.join(runtime, "tuner")
    yield os.path.join(tempfile.gettempdir(), f"tuner-{os.getuid()}")


def _own_folder() -> str:
    for folder in _folders():
        with contextlib.suppress(OSError):
            os.mkdir(folder, 0o700)
        with contextlib.suppress(OSError):
            if _is_private(os.lstat(folder)) and os.access(folder, os.W_OK):
                return folder
    raise ConfigError(
        f"RunConfig(server=…): {folder} is not a folder of yours alone, so no token can be kept "
        "there; set XDG_RUNTIME_DIR to one that is"
    )


def _is_private(status: os.stat_result) -> bool:
    is_folder = stat.S_ISDIR(status.st_mode)
    return is_folder and status.st_uid == os.getuid() and not status.st_mode & 0o077
