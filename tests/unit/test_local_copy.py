import os
import shutil
from pathlib import Path

import pytest

from tuner.local_copy import copy_tree


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("whole_files", [False, True])
def test_nested_files_arrive_with_their_content(tmp_path: Path, whole_files: bool) -> None:
    files = {"a.bin": os.urandom(3_000_001), "deep/er/b": b"", "deep/c": b"c"}
    for name, content in files.items():
        write(tmp_path / "src" / name, content)
    (tmp_path / "src" / "empty").mkdir()
    copy_tree(str(tmp_path / "src"), str(tmp_path / "new/dst"), whole_files=whole_files)
    assert contents(tmp_path / "new/dst") == files
    assert (tmp_path / "new/dst/empty").is_dir()


@pytest.mark.parametrize("whole_files", [False, True])
def test_what_is_there_stays_and_the_same_name_is_replaced(
    tmp_path: Path, whole_files: bool
) -> None:
    write(tmp_path / "src/a", b"new")
    write(tmp_path / "dst/a", b"old and longer")
    write(tmp_path / "dst/b", b"kept")
    copy_tree(str(tmp_path / "src"), str(tmp_path / "dst"), whole_files=whole_files)
    assert contents(tmp_path / "dst") == {"a": b"new", "b": b"kept"}


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "outside/layer/w", b"w")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").symlink_to(tmp_path / "outside/layer/w")
    (tmp_path / "src/folder").symlink_to(tmp_path / "outside/layer")
    copy_tree(str(tmp_path / "src"), str(tmp_path / "dst"))
    assert contents(tmp_path / "dst") == {"file": b"w", "folder/w": b"w"}
    assert not (tmp_path / "dst/file").is_symlink()
    assert not (tmp_path / "dst/folder").is_symlink()


def test_a_dangling_link_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(shutil.SpecialFileError, match="src/gone is neither a file nor a directory"):
        copy_tree(str(tmp_path / "src"), str(tmp_path / "dst"))


def test_a_directory_copied_onto_itself_is_untouched(tmp_path: Path) -> None:
    write(tmp_path / "src/a", b"content")
    (tmp_path / "same").symlink_to(tmp_path / "src")
    copy_tree(str(tmp_path / "src"), str(tmp_path / "same"))
    assert contents(tmp_path / "src") == {"a": b"content"}


def test_a_directory_can_be_copied_into_itself(tmp_path: Path) -> None:
    write(tmp_path / "src/a", b"content")
    copy_tree(str(tmp_path / "src"), str(tmp_path / "src/copy"))
    assert contents(tmp_path / "src") == {"a": b"content", "copy/a": b"content"}


def test_a_file_that_cannot_be_replaced_leaves_no_part_behind(tmp_path: Path) -> None:
    write(tmp_path / "src/a", b"content")
    write(tmp_path / "dst/a/in_the_way", b"")
    with pytest.raises(OSError, match="a"):
        copy_tree(str(tmp_path / "src"), str(tmp_path / "dst"), whole_files=True)
    assert contents(tmp_path / "dst") == {"a/in_the_way": b""}
