import pytest

from tuner.errors import ConfigError
from tuner.legacy.place import Place, place_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def place(**arguments):
    return place_of("tune.run", **arguments)


def test_nothing_is_the_default_place():
    assert place() == Place()


@pytest.mark.parametrize("name", ["storage_path", "local_dir", "upload_dir"])
def test_a_folder_is_where_experiments_lie_whatever_it_is_called(name, tmp_path):
    assert place(**{name: tmp_path}).storage_path == str(tmp_path)


def test_an_empty_upload_dir_is_none():
    assert place(local_dir="/here", upload_dir="").storage_path == "/here"


def test_a_command_leaves_the_experiment_here_and_copies_it_there():
    found = place(local_dir="/here", upload_dir="s3://b/up", sync_to_cloud="cp {source} {target}")
    assert (found.storage_path, found.upload_dir) == ("/here", "s3://b/up")
    assert found.copy_of("exp") == "s3://b/up/exp"
    assert not found.is_local


def test_an_experiment_lies_in_the_upload_dir_and_says_so_where_a_local_one_is_given(caplog):
    assert place(local_dir="/here", upload_dir="s3://b/up").storage_path == "s3://b/up"
    assert "the experiment lies in upload_dir='s3://b/up'" in caplog.text


def test_a_command_without_a_place_to_upload_to_warns(caplog):
    assert place(local_dir="/here", sync_to_cloud="cp {source} {target}").upload is None
    assert "nothing is uploaded" in caplog.text


@pytest.mark.parametrize("name", ["local_dir", "upload_dir"])
def test_old_and_new_contradict_each_other(name):
    with pytest.raises(ConfigError, match=rf"tune.run\({name}='/a'\): give storage_path"):
        place(storage_path="/b", **{name: "/a"})


def test_whether_it_is_of_this_machine():
    assert place(storage_path="/here").is_local
    assert not place(storage_path="memory://there").is_local
