"""What every searcher must do; a new one joins by one line in `SEARCHERS`."""

import cloudpickle
import pytest

from tuner import search_space as ss
from tuner.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher

SEARCHERS = {
    "basic_variant": lambda: BasicVariantGenerator(random_state=1),
    "basic_variant_limited": lambda: BasicVariantGenerator(random_state=1, max_concurrent=2),
    "limiter": lambda: ConcurrencyLimiter(BasicVariantGenerator(random_state=1), 2),
    "limiter_batch": lambda: ConcurrencyLimiter(BasicVariantGenerator(random_state=1), 2, True),
}
SPACE = {
    "lr": ss.loguniform(1e-4, 1e-1),
    "layers": ss.randint(1, 4),
    "model": {"kind": ss.choice(["a", "b"]), "size": ss.quniform(0, 1, 0.25)},
}
NUM_SAMPLES = 7


@pytest.fixture(params=SEARCHERS.values(), ids=SEARCHERS.keys())
def make(request):
    def ready():
        searcher = request.param()
        assert searcher.set_search_properties("loss", "min", SPACE, num_samples=NUM_SAMPLES, seed=2)
        return searcher

    return ready


def loss(config):
    return config["lr"] * config["layers"]


class Run:
    """Runs trials one result at a time and writes down what a journal would."""

    def __init__(self, searcher):
        self.searcher = searcher
        self.record = []
        self.open = {}
        self.count = 0

    def start(self):
        config = self.searcher.suggest(f"t{self.count}")
        if not isinstance(config, dict):
            return config
        self.record.append(("start", f"t{self.count}", config))
        self.open[f"t{self.count}"] = config
        self.count += 1
        return config

    def finish_oldest(self):
        trial_id = next(iter(self.open))
        config = self.open.pop(trial_id)
        result = {"loss": loss(config), "training_iteration": 1}
        self.record += [("result", trial_id, result), ("end", trial_id, result)]
        self.searcher.on_trial_result(trial_id, result)
        self.searcher.on_trial_complete(trial_id, result)

    def step(self):
        """Starts a trial, or finishes one where none can be started; False at the end."""
        answer = self.start()
        if isinstance(answer, dict):
            return True
        if self.open:
            self.finish_oldest()
            return True
        assert answer == Searcher.FINISHED
        return False

    def to_the_end(self):
        while self.step():
            pass
        return [entry[2] for entry in self.record if entry[0] == "start"]


def replay(searcher, record):
    for kind, trial_id, value in record:
        if kind == "start":
            searcher.on_trial_recorded(trial_id, value)
        elif kind == "result":
            searcher.on_trial_result(trial_id, value)
        else:
            searcher.on_trial_complete(trial_id, value)


def going_on(run, searcher):
    """A run that takes over where `run` is."""
    other = Run(searcher)
    other.record, other.open, other.count = list(run.record), dict(run.open), run.count
    return other


def test_it_proposes_resolved_configurations_of_the_space(make):
    configs = Run(make()).to_the_end()
    assert len(configs) == NUM_SAMPLES == make().total_samples(NUM_SAMPLES)
    for config in configs:
        assert config.keys() == SPACE.keys()
        assert not ss.has_unresolved(config)
        assert all(SPACE[name].is_valid(config[name]) for name in ("lr", "layers"))
        assert all(SPACE["model"][name].is_valid(config["model"][name]) for name in config["model"])


def test_finished_stays_finished(make):
    run = Run(make())
    run.to_the_end()
    assert run.searcher.suggest("one_more") == Searcher.FINISHED


def test_trials_that_fail_without_a_result_are_borne(make):
    searcher, count = make(), 0
    while isinstance(searcher.suggest(f"t{count}"), dict):
        searcher.on_trial_complete(f"t{count}", None, error=True)
        count += 1
    assert count == NUM_SAMPLES


def test_results_without_the_metric_or_with_nan_are_borne(make):
    searcher = make()
    assert isinstance(searcher.suggest("a"), dict)
    searcher.on_trial_result("a", {"training_iteration": 1})
    searcher.on_trial_result("a", {"loss": float("nan")})
    searcher.on_trial_complete("a", {"loss": float("nan")})
    assert isinstance(searcher.suggest("b"), dict)


@pytest.mark.parametrize("steps", range(0, 15, 2))
def test_a_replayed_searcher_goes_on_as_if_nothing_had_happened(make, steps):
    expected = Run(make()).to_the_end()
    run = Run(make())
    for _ in range(steps):
        run.step()
    replayed = make()
    replay(replayed, run.record)
    assert going_on(run, replayed).to_the_end() == expected


@pytest.mark.parametrize("steps", range(0, 15, 2))
def test_a_saved_searcher_goes_on_as_if_nothing_had_happened(make, steps, tmp_path):
    expected = Run(make()).to_the_end()
    run = Run(make())
    for _ in range(steps):
        run.step()
    run.searcher.save(tmp_path / "searcher.pkl")
    restored = make()
    restored.restore(tmp_path / "searcher.pkl")
    assert going_on(run, restored).to_the_end() == expected


def test_it_can_be_pickled_between_two_suggestions(make):
    expected = Run(make()).to_the_end()
    run = Run(make())
    run.step()
    copied = cloudpickle.loads(cloudpickle.dumps(run.searcher))
    assert going_on(run, copied).to_the_end() == expected
