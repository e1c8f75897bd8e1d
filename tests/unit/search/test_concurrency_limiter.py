"""The limiter: never more than allowed, batches, and what it passes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import ConfigError
from tuner.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher


class Counting(Searcher):
    """Proposes 0, 1, 2, ...; `holding` makes it wait for results after so many proposals."""

    def __init__(self, total=10, holding=None):
        super().__init__(metric="loss", mode="min")
        self.total, self.holding = total, holding
        self.next = 0
        self.waiting = 0
        self.results = []
        self.completed = []

    def suggest(self, trial_id):
        if self.next == self.total:
            return Searcher.FINISHED
        if self.waiting == self.holding:
            return None
        self.next += 1
        self.waiting += 1
        return {"x": self.next - 1}

    def on_trial_result(self, trial_id, result):
        self.results.append((trial_id, result))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.waiting -= 1
        self.completed.append((trial_id, result, error))


def ids(searcher):
    return [trial_id for trial_id, _, _ in searcher.completed]


def test_the_limit():
    inner = Counting()
    limited = ConcurrencyLimiter(inner, 2)
    assert [limited.suggest(name) for name in "abc"] == [{"x": 0}, {"x": 1}, None]
    assert inner.next == 2
    limited.on_trial_result("a", {"loss": 2})
    assert limited.suggest("c") is None
    limited.on_trial_complete("a", {"loss": 1})
    assert limited.suggest("c") == {"x": 2}
    assert limited.suggest("d") is None
    limited.on_trial_complete("b", None, error=True)
    assert inner.results == [("a", {"loss": 2})]
    assert inner.completed == [("a", {"loss": 1}, False), ("b", None, True)]


def test_trials_it_did_not_propose_are_not_counted():
    inner = Counting()
    limited = ConcurrencyLimiter(inner, 1)
    limited.suggest("a")
    limited.on_trial_complete("other")
    assert limited.suggest("b") is None
    assert inner.completed == []


def test_finished_goes_through():
    limited = ConcurrencyLimiter(Counting(total=1), 2)
    assert [limited.suggest(name) for name in "ab"] == [{"x": 0}, Searcher.FINISHED]


def test_a_batch_ends_as_a_whole():
    inner = Counting()
    limited = ConcurrencyLimiter(inner, 2, batch=True)
    limited.suggest("a"), limited.suggest("b")
    limited.on_trial_complete("b", {"loss": 1})
    assert limited.suggest("c") is None
    assert inner.completed == []
    limited.on_trial_complete("a", {"loss": 2})
    assert inner.completed == [("b", {"loss": 1}, False), ("a", {"loss": 2}, False)]
    assert limited.suggest("c") == {"x": 2}


def test_a_batch_may_begin_while_the_rest_of_it_is_to_come():
    inner = Counting()
    limited = ConcurrencyLimiter(inner, 3, batch=True)
    limited.suggest("a")
    limited.on_trial_complete("a", {"loss": 1})
    assert [limited.suggest(name) for name in "bcd"] == [{"x": 1}, {"x": 2}, None]
    assert inner.completed == []


def test_a_batch_is_cut_short_rather_than_waiting_for_ever():
    inner = Counting(holding=2)
    limited = ConcurrencyLimiter(inner, 3, batch=True)
    assert [limited.suggest(name) for name in "abc"] == [{"x": 0}, {"x": 1}, None]
    limited.on_trial_complete("a", {"loss": 1})
    assert limited.suggest("c") is None
    limited.on_trial_complete("b", {"loss": 1})
    assert limited.suggest("c") == {"x": 2}
    assert ids(inner) == ["a", "b"]


def test_the_last_batch_reaches_the_searcher():
    inner = Counting(total=3)
    limited = ConcurrencyLimiter(inner, 2, batch=True)
    for pair in ("ab", "c"):
        for name in pair:
            limited.suggest(name)
        for name in pair:
            limited.on_trial_complete(name, {"loss": 1})
    assert limited.suggest("d") == Searcher.FINISHED
    assert ids(inner) == ["a", "b", "c"]


@given(st.integers(1, 4), st.booleans(), st.lists(st.integers(0, 3), max_size=40))
def test_never_more_than_allowed_and_all_are_told(limit, batch, moves):
    inner = Counting(total=15)
    limited = ConcurrencyLimiter(inner, limit, batch=batch)
    unfinished, count = [], 0
    for move in moves:
        if move == 0 and unfinished:
            limited.on_trial_complete(unfinished.pop(0), {"loss": count})
        elif isinstance(limited.suggest(f"t{count}"), dict):
            unfinished.append(f"t{count}")
            count += 1
        assert len(unfinished) <= limit
        assert inner.waiting <= limit
    for trial_id in unfinished:
        limited.on_trial_complete(trial_id, {"loss": 0})
    while isinstance(limited.suggest(f"t{count}"), dict):
        limited.on_trial_complete(f"t{count}", {"loss": 0})
        count += 1
    assert sorted(ids(inner)) == sorted(f"t{n}" for n in range(15))


def test_a_searcher_that_limits_itself_is_told_the_limit():
    inner = BasicVariantGenerator(max_concurrent=5)
    limited = ConcurrencyLimiter(inner, 2)
    assert inner.max_concurrent == limited.max_concurrent == 2
    limited.set_search_properties("loss", "min", {"x": 1}, num_samples=4, seed=0)
    assert [limited.suggest(name) for name in "abc"] == [{"x": 1}, {"x": 1}, None]
    limited.on_trial_complete("a", {"loss": 1})
    assert limited.suggest("c") == {"x": 1}


def test_properties_and_totals_are_the_searchers():
    limited = ConcurrencyLimiter(BasicVariantGenerator(), 2)
    space = {"x": {"grid_search": [1, 2]}}
    assert limited.set_search_properties("loss", "min", space, num_samples=3, seed=0) is True
    assert (limited.metric, limited.mode) == ("loss", "min")
    assert limited.total_samples(3) == 6
    assert ConcurrencyLimiter(Counting(), 2).set_search_properties("a", "max", {}) is False
    assert ConcurrencyLimiter(Counting(), 2).metric == "loss"


def test_the_search_space_again_is_passed_on():
    limited = ConcurrencyLimiter(BasicVariantGenerator(), 2)
    limited.set_search_properties("loss", "min", {"x": "old"}, num_samples=3, seed=0)
    assert limited.suggest("a") == {"x": "old"}
    limited.set_param_space({"x": "new"})
    assert [limited.suggest(name) for name in "bc"] == [{"x": "new"}, None]


def test_the_state_goes_through_a_file(tmp_path):
    limited = ConcurrencyLimiter(Counting(), 3, batch=True)
    for name in "ab":
        limited.suggest(name)
    limited.on_trial_complete("a", {"loss": 1})
    limited.save(tmp_path / "state.pkl")
    inner = Counting()
    restored = ConcurrencyLimiter(inner, 3, batch=True)
    restored.restore(tmp_path / "state.pkl")
    assert [restored.suggest(name) for name in "cd"] == [{"x": 2}, None]
    for name in "bc":
        restored.on_trial_complete(name, {"loss": 1})
    assert ids(inner) == ["a", "b", "c"]


def test_recorded_trials_count():
    inner = Counting()
    limited = ConcurrencyLimiter(inner, 1)
    limited.on_trial_recorded("a", {"x": 0})
    assert limited.suggest("b") is None
    limited.on_trial_complete("a", {"loss": 1})
    assert limited.suggest("b") == {"x": 1}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((3, 1), r"ConcurrencyLimiter\(searcher=3\): give a Searcher object"),
        ((Counting(), 0), r"ConcurrencyLimiter\(max_concurrent=0\): use a whole number >= 1"),
        ((Counting(), 1, "yes"), "batch='yes'"),
    ],
)
def test_wrong_arguments_are_refused(args, message):
    with pytest.raises(ConfigError, match=message):
        ConcurrencyLimiter(*args)


class OneAtATime(Searcher):
    """Proposes the next number when it has been told the value of the one before."""

    def __init__(self):
        super().__init__("loss", "min")
        self.told, self.waits = [], False

    def suggest(self, trial_id):
        if self.waits:
            return None
        self.waits = True
        return {"x": len(self.told)}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append(trial_id)
        self.waits = False


def test_a_batch_that_was_cut_short_is_cut_short_by_a_replay():
    """The searcher says None, so what it waits for is told before the batch is full."""
    whole, replayed = (ConcurrencyLimiter(OneAtATime(), 3, batch=True) for _ in range(2))
    configs = []
    for number in range(5):
        configs.append(whole.suggest(f"t{number}"))
        whole.on_trial_complete(f"t{number}", {"loss": 1})
    for number, config in enumerate(configs):
        replayed.on_trial_recorded(f"t{number}", config)
        replayed.on_trial_complete(f"t{number}", {"loss": 1})
    assert configs == [{"x": number} for number in range(5)]
    assert replayed.searcher.told == whole.searcher.told
    assert replayed.get_state().keys() == whole.get_state().keys()
    assert replayed.suggest("t5") == whole.suggest("t5") == {"x": 5}
