"""Facts, journals and trials for the tests of the recorder and its loggers."""

import csv
import json
from pathlib import Path

from tuner.experiment.events import (
    ExperimentEnded,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.trial import Trial

TIME = 1_700_000_000.0


def make_trial(folder, trial_id="a", config=None, **kwargs):
    config = {"lr": 0.1} if config is None else config
    kwargs.setdefault("evaluated_params", config)
    trial = Trial(trial_id=trial_id, config=config, trainable_name="f", path=str(folder), **kwargs)
    trial.start_time = TIME
    return trial


def log(callback, trial, *results):
    """Logs the results of a new trial as the recorder does."""
    callback.on_trial_start(0, [trial], trial)
    for result in results:
        trial.record_result(result)
        callback.on_trial_result(0, [trial], trial, result)
    callback.flush()


def created(trial_id, config=None, number=0):
    config = {"lr": 0.5, "net": {"layers": 2}} if config is None else config
    return TrialCreated(
        time=TIME,
        trial_id=trial_id,
        number=number,
        trainable_name="train",
        trial_name="",
        experiment_tag=f"{number}_lr=0.5",
        dirname=f"train_{trial_id}",
        config=config,
        evaluated_params={"lr": 0.5},
        bundles=[{"CPU": 1}],
    )


def launched(trial_id, attempt=1, num_results=0, checkpoint=None, donor=None):
    return TrialLaunched(TIME, trial_id, attempt, checkpoint, num_results, donor)


def exploited(trial_id, donor, checkpoint, lr, *, is_logged=True):
    return TrialChanged(
        time=TIME,
        trial_id=trial_id,
        donor=donor,
        checkpoint=checkpoint,
        config={"lr": lr, "net": {"layers": 2}},
        evaluated_params={"lr": lr},
        experiment_tag=f"x_lr={lr}",
        chosen_objects={},
        bundles=None,
        is_logged=is_logged,
    )


def reported(trial_id, iteration, attempt=1, checkpoint=None, **metrics):
    result = {
        "loss": 1 / iteration,
        "attempt": attempt,
        "training_iteration": iteration,
        "done": False,
        "trial_id": trial_id,
        "timestamp": int(TIME) + iteration,
        "timesteps_total": None,
        **metrics,
    }
    return TrialResult(TIME, trial_id, attempt, "CONTINUE", checkpoint, result)


def ended(trial_id, attempt=1, status="TERMINATED", error=None):
    return TrialEnded(TIME, trial_id, attempt, status, error)


END = ExperimentEnded(TIME, "done", True)


def write_journal(folder, facts):
    writer = JournalWriter(str(folder))
    writer.append(facts)
    writer.close()


def json_rows(trial_folder):
    lines = (Path(trial_folder) / "result.json").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def csv_rows(trial_folder):
    with (Path(trial_folder) / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def scalars(trial_folder, tag="ray/tune/loss"):
    """Pairs of step and value, as TensorBoard shows them."""
    accumulator = accumulate(trial_folder)
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def accumulate(trial_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0}
    return EventAccumulator(str(trial_folder), size_guidance=sizes).Reload()
