"""The base class: defaults that users' own searchers build on."""

import pytest

from tuner.errors import ConfigError
from tuner.search import Searcher


class Listed(Searcher):
    """Proposes given values, one after the other; remembers what it was told."""

    def __init__(self, values=(), **kwargs):
        super().__init__(**kwargs)
        self.values = list(values)
        self.scores = {}

    def suggest(self, trial_id):
        return {"x": self.values.pop(0)} if self.values else Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.scores[trial_id] = None if error else result["loss"]


def test_metric_and_mode_given_to_the_searcher_go_before_the_experiments():
    searcher = Listed(metric="loss", mode="min")
    assert searcher.set_search_properties("accuracy", "max", {}) is False
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    searcher = Listed()
    searcher.set_search_properties("accuracy", "max", {}, num_samples=3, seed=1)
    assert (searcher.metric, searcher.mode) == ("accuracy", "max")


def test_a_wrong_mode_is_refused():
    with pytest.raises(ConfigError, match=r"Listed\(mode='maximize'\): use 'max'"):
        Listed(metric="loss", mode="maximize")
    assert Listed(metric=["a", "b"], mode=["min", "max"]).mode == ["min", "max"]


def test_suggest_must_be_implemented():
    with pytest.raises(NotImplementedError, match="Searcher must implement suggest"):
        Searcher().suggest("trial")


def test_a_recorded_trial_moves_the_state_on():
    searcher = Listed([1, 2, 3])
    searcher.on_trial_recorded("a", {"x": 1})
    assert searcher.suggest("b") == {"x": 2}


def test_the_state_goes_through_a_file(tmp_path):
    searcher = Listed([1, 2, 3], metric="loss", mode="min")
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"loss": 0.5})
    searcher.hook = lambda: 3  # what users keep need not be picklable by name
    searcher.save(tmp_path / "searcher.pkl")
    searcher.suggest("b")
    restored = Listed()
    restored.restore(tmp_path / "searcher.pkl")
    assert restored.suggest("b") == {"x": 2}
    assert restored.scores == {"a": 0.5}
    assert restored.mode == "min"
    assert restored.hook() == 3


def test_totals():
    assert Searcher().total_samples(5) == 5
    assert Searcher().total_samples(-1) is None
    assert Searcher().max_concurrent == 0
    assert Searcher().set_max_concurrency(3) is False
