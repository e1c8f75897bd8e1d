import copy
import dataclasses
import pickle

import pytest

import tuner as tune
from tuner.errors import ConfigError
from tuner.server.config import TOKEN_VARIABLE, ServerConfig

TOKEN = "sixteen-letters-"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"port": 65536}, "ServerConfig(port=65536): use a port from 1 to 65535, or 0"),
        ({"port": "4321"}, "ServerConfig(port='4321'): use a port"),
        ({"port": True}, "ServerConfig(port=True): use a port"),
        ({"host": ""}, "ServerConfig(host=''): use an address"),
        ({"hots": "::1"}, "ServerConfig(hots='::1'): no such field; did you mean 'host'?"),
        ({"host": "10.0.0.1"}, "ServerConfig(host='10.0.0.1'): other machines could reach it"),
    ],
)
def test_what_cannot_work_is_named(wrong, message):
    with pytest.raises(ConfigError) as caught:
        ServerConfig(**wrong)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("token", ["short", "", "with spaces and more", "söme-tökens-are-not", 7])
def test_a_token_that_cannot_work_is_refused_and_not_shown(token):
    with pytest.raises(ConfigError, match="at least 16") as caught:
        ServerConfig(token=token)
    assert repr(token) not in str(caught.value)


def test_other_machines_are_let_in_with_a_token(monkeypatch):
    assert ServerConfig(host="0.0.0.0", token=TOKEN).given_token == TOKEN
    monkeypatch.setenv(TOKEN_VARIABLE, "from-the-environment")
    assert ServerConfig(host="0.0.0.0").given_token == "from-the-environment"
    assert ServerConfig(token=TOKEN).given_token == TOKEN


def test_the_token_is_in_nothing_that_is_shown_or_stored():
    config = ServerConfig(token=TOKEN, port=5)
    assert TOKEN not in repr(config)
    assert TOKEN.encode() not in pickle.dumps(config)
    restored = pickle.loads(pickle.dumps(config))
    assert restored == ServerConfig(port=5)
    assert dataclasses.replace(config, port=6).token == TOKEN


def test_a_copy_has_the_token():
    config = ServerConfig(token=TOKEN, port=5)
    for copied in (
        copy.copy(config),
        copy.deepcopy(config),
        copy.deepcopy(tune.RunConfig(server=config)).server,
    ):
        assert copied is not config
        assert copied == config
        assert copied.token == TOKEN


def test_no_file_of_an_experiment_holds_the_token(tmp_path):
    run_config = tune.RunConfig(
        name="exp",
        storage_path=str(tmp_path),
        verbose=0,
        server=ServerConfig(token=TOKEN, port=0),
    )
    tune.Tuner(_train, run_config=run_config).fit()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "tuner.pkl" for path in files)
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


def _train(config):
    tune.report({"loss": 1})
