import os

import pytest

from tuner.recording.bookmarks import Bookmarks
from tuner.recording.files import LogFiles, write_file


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "journal").mkdir()
    return tmp_path


def restarted(experiment):
    bookmarks = Bookmarks(str(experiment))
    facts = bookmarks.load()
    return bookmarks, LogFiles(bookmarks), facts


def test_appends_reach_the_file_with_the_flush(tmp_path):
    files = LogFiles()
    path = tmp_path / "new" / "folder" / "log"
    file = files.open(str(path), fresh=True)
    file.append(b"one ")
    file.append(b"two")
    assert not path.exists()
    files.flush()
    assert path.read_bytes() == b"one two"
    assert file.size == 7
    assert file.read() == b"one two"


def test_300_files_with_few_open(tmp_path):
    files = LogFiles(max_open=16)
    opened = [files.open(str(tmp_path / f"{i}"), fresh=True) for i in range(300)]
    for round_ in range(3):
        for file in opened:
            file.append(b"%d" % round_)
        files.flush()
        assert files.num_open == 16
    assert {(tmp_path / f"{i}").read_bytes() for i in range(300)} == {b"012"}
    for file in opened:
        file.close()
    assert files.num_open == 0
    assert list(files.sizes()) == []


def test_fresh_file_drops_what_was_there_and_another_one_keeps_it(tmp_path):
    for fresh, expected in ((True, b"new"), (False, b"oldnew")):
        path = tmp_path / str(fresh)
        path.write_bytes(b"old")
        files = LogFiles()
        files.open(str(path), fresh=fresh).append(b"new")
        files.flush()
        assert path.read_bytes() == expected


def test_a_replaced_file_goes_on_after_its_new_content(tmp_path):
    files = LogFiles()
    file = files.open(str(tmp_path / "log"), fresh=True)
    file.append(b"old")
    file.replace(b"new")
    file.append(b"er")
    files.flush()
    assert (tmp_path / "log").read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["log"]


def test_write_file_makes_folders_and_overwrites(tmp_path):
    path = tmp_path / "a" / "b"
    write_file(str(path), b"longer")
    write_file(str(path), b"short")
    assert path.read_bytes() == b"short"


def test_restart_cuts_files_back(experiment):
    bookmarks, files, facts = restarted(experiment)
    assert facts == 0
    file = files.open(str(experiment / "log"), fresh=True)
    file.append(b"kept")
    files.flush()
    bookmarks.save(7)
    file.append(b"lost")
    files.flush()

    _, files, facts = restarted(experiment)
    assert facts == 7
    assert (experiment / "log").read_bytes() == b"kept"
    files.open(str(experiment / "log"), fresh=True).append(b"!")
    files.flush()
    assert (experiment / "log").read_bytes() == b"kept!"


def test_restart_undoes_a_replacement(experiment):
    bookmarks, files, _ = restarted(experiment)
    file = files.open(str(experiment / "log"), fresh=True)
    file.append(b"kept")
    files.flush()
    bookmarks.save(1)
    file.append(b"+")
    file.replace(b"once")
    file.replace(b"twice")

    _, _, facts = restarted(experiment)
    assert facts == 1
    assert (experiment / "log").read_bytes() == b"kept"


def test_restart_when_killed_between_setting_aside_and_replacing(experiment):
    bookmarks, files, _ = restarted(experiment)
    files.open(str(experiment / "log"), fresh=True).append(b"kept")
    files.flush()
    bookmarks.save(1)
    bookmarks.set_aside(str(experiment / "log"))
    assert not (experiment / "log").exists()

    restarted(experiment)
    assert (experiment / "log").read_bytes() == b"kept"


def test_a_replacement_before_the_bookmark_stays(experiment):
    bookmarks, files, _ = restarted(experiment)
    file = files.open(str(experiment / "log"), fresh=True)
    file.append(b"old")
    files.flush()
    bookmarks.save(1)
    file.replace(b"new")
    bookmarks.save(1)

    restarted(experiment)
    assert (experiment / "log").read_bytes() == b"new"
    assert os.listdir(experiment / "journal" / "set_aside") == []


def test_a_file_that_was_closed_is_covered_again_before_it_grows(experiment):
    bookmarks, files, _ = restarted(experiment)
    file = files.open(str(experiment / "log"), fresh=True)
    file.append(b"kept")
    file.close()
    bookmarks.save(1)
    assert not bookmarks.covers(str(experiment / "log"))
    files.open(str(experiment / "log"), fresh=False).append(b"lost")
    files.flush()

    _, _, facts = restarted(experiment)
    assert facts == 1
    assert (experiment / "log").read_bytes() == b"kept"


def test_a_closed_file_that_grew_since_the_bookmark_has_its_true_size(experiment):
    bookmarks, files, _ = restarted(experiment)
    file = files.open(str(experiment / "log"), fresh=True)
    file.append(b"one")
    files.flush()
    bookmarks.save(1)
    file.append(b"two")
    file.close()
    assert files.open(str(experiment / "log"), fresh=False).size == 6


@pytest.mark.parametrize("damage", ["shorter", "missing", "not json"])
def test_a_bookmark_that_does_not_fit_is_not_used(experiment, damage, caplog):
    bookmarks, files, _ = restarted(experiment)
    files.open(str(experiment / "log"), fresh=True).append(b"kept")
    files.flush()
    bookmarks.save(1)
    if damage == "shorter":
        (experiment / "log").write_bytes(b"k")
    elif damage == "missing":
        (experiment / "log").unlink()
    else:
        (experiment / "journal" / "bookmarks.json").write_bytes(b'{"facts":')

    bookmarks, _, facts = restarted(experiment)
    assert facts == 0
    assert not bookmarks.covers(str(experiment / "log"))
    assert "written anew" in caplog.text
