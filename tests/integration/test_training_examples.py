"""The examples of callbacks for training libraries print what their files say."""

import pytest


def check_boosted_trees(run):
    """What is the same with XGBoost and LightGBM."""
    rounds = {folder: len(frame) for folder, frame in run.trials.items()}
    assert len(rounds) == 4
    assert run.number("Rounds trained:") == sum(rounds.values()) < 4 * 8
    best = min(run.trials, key=lambda folder: run.trials[folder]["loss"].iloc[-1])
    losses = run.trials[best]["loss"]
    assert run.number("Best loss:") == pytest.approx(losses.iloc[-1], abs=5e-5)
    assert losses.is_monotonic_decreasing
    assert run.number("Accuracy of its") == rounds[best]
    assert run.number("on the test part:") > 0.85


def test_xgboost_asha(run_example):
    check_boosted_trees(run_example("xgboost_asha.py"))


def test_lightgbm_asha(run_example):
    check_boosted_trees(run_example("lightgbm_asha.py"))


def check_network(run, checkpoint_file):
    """What is the same with Keras and Lightning."""
    epochs = [len(frame) for frame in run.trials.values()]
    assert run.number("Epochs trained:") == sum(epochs)
    assert max(epochs) == 3
    best = max(frame["accuracy"].iloc[-1] for frame in run.trials.values())
    assert run.number("Best accuracy:") == pytest.approx(best, abs=5e-5)
    assert run.number("On the test part:") == pytest.approx(best, abs=0.1)
    assert best > 0.6
    for folder in run.trials:
        (checkpoint,) = folder.glob("checkpoint_*")
        assert (checkpoint / checkpoint_file).is_file()


def test_keras_digits(run_example):
    check_network(run_example("keras_digits.py"), "model.keras")


def test_lightning_digits(run_example):
    check_network(run_example("lightning_digits.py"), "digits.ckpt")
