"""Fast copies of directory trees on this machine."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable

from tuner import failpoints
from tuner.failpoints import Failpoint


def copy_tree(src: str, dst: str, *, whole_files: bool = False) -> None:
    """Copies the directory `src` to `dst`, which is made with its parents if it does not exist.

    Symbolic links are followed; owner, times and permissions are not copied. Where the filesystem
    can share blocks between files, no data is copied at all. What `dst` holds already stays,
    except for files of the same name.

    Args:
        src: An existing directory.
        dst: The directory that receives the files.
        whole_files: Each file is written under a hidden name and renamed, so that several
            processes may copy to the same `dst` and read from it at the same time.

    Raises:
        OSError: a file cannot be read or written, or is neither a file nor a directory.

    Example:
        >>> import os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> os.makedirs(f"{folder}/a/layers")
        >>> _ = open(f"{folder}/a/layers/w.bin", "wb").write(b"123")
        >>> copy_tree(f"{folder}/a", f"{folder}/b")
        >>> os.listdir(f"{folder}/b/layers")
        ['w.bin']
    """
    if os.path.isdir(dst) and os.path.samefile(src, dst):
        return
    _copy_directory(src, dst, _replace_file if whole_files else _copy_file)


def _copy_directory(src: str, dst: str, copy_file: Callable[[str, str], None]) -> None:
    with os.scandir(src) as found:
        entries = list(found)  # before `dst` is made, which may lie inside `src`
    os.makedirs(dst, exist_ok=True)
    for entry in entries:
        target = os.path.join(dst, entry.name)
        if entry.is_file():
            copy_file(entry.path, target)
            failpoints.reach(Failpoint.CHECKPOINT_COPY)
        elif entry.is_dir():
            _copy_directory(entry.path, target, copy_file)
        else:
            raise shutil.SpecialFileError(f"{entry.path} is neither a file nor a directory")


def _replace_file(src: str, dst: str) -> None:
    folder, name = os.path.split(dst)
    part = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.part")
    try:
        _copy_file(src, part)
        os.replace(part, dst)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def _copy_file(src: str, dst: str) -> None:
    if not _copy_in_kernel(src, dst):
        shutil.copyfile(src, dst)


def _copy_in_kernel(src: str, dst: str) -> bool:
    """Whether the kernel could copy the whole file by itself; macOS and some mounts cannot."""
    if not hasattr(os, "copy_file_range"):
        return False
    source = os.open(src, os.O_RDONLY)
    try:
        target = os.open(dst, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            left = os.fstat(source).st_size
            while left and (copied := os.copy_file_range(source, target, left)):
                left -= copied
        except OSError:
            return False
        finally:
            os.close(target)
    finally:
        os.close(source)
    return not left
