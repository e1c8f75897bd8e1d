"""`tune.run(sync_to_cloud=…, sync_to_driver=…)`: copies by commands and functions of the user."""

import shutil
from pathlib import Path

import pytest

import tuner as tune
from tuner.execution import machine

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

COPY = "mkdir -p {target} && cp -r {source}/. {target}"


def train(config):
    for i in range(3):
        tune.report({"x": i})


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run(folder, trainable=train, **arguments):
    return tune.run(trainable, local_dir=str(folder / "here"), name="exp", verbose=0, **arguments)


def copy(source, target):
    shutil.copytree(source, target, dirs_exist_ok=True)


@pytest.mark.parametrize("given", [COPY, copy])
def test_all_that_is_here_is_there_in_the_end(tmp_path, given):
    run(tmp_path, upload_dir=str(tmp_path / "there"), sync_to_cloud=given)
    here, there = tmp_path / "here" / "exp", tmp_path / "there" / "exp"
    assert names(here) == names(there)
    assert "results.parquet" in names(there)
    assert len(tune.Tuner.restore(str(there)).get_results()) == 1


def test_it_is_copied_while_it_runs_as_well(tmp_path):
    copies = tmp_path / "copies"

    def note(source, target):
        with open(copies, "a") as file:
            file.write(f"{source} {target}\n")

    def wait_for_copies(config):
        number = 0
        while not copies.exists() or copies.read_text().count("\n") < 2:
            number += 1
            tune.report({"x": number})

    run(
        tmp_path,
        wait_for_copies,
        upload_dir="s3://bucket/up",
        sync_to_cloud=note,
        global_checkpoint_period=1e-3,
    )
    lines = copies.read_text().splitlines()
    assert len(lines) >= 3
    assert set(lines) == {f"{tmp_path}/here/exp s3://bucket/up/exp"}


def test_a_copy_that_fails_fails_no_experiment(tmp_path, caplog):
    failing = "echo the disk is full; false {source} {target}"
    analysis = run(tmp_path, upload_dir="/there", sync_to_cloud=failing)
    assert analysis.trials[0].status == "TERMINATED"
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "are not in /there/exp: " in error
    assert "the disk is full" in error


def test_what_there_is_of_an_experiment_that_fails_is_copied_as_well(tmp_path):
    def fail(config):
        tune.report({"x": 1})
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        run(tmp_path, fail, upload_dir=str(tmp_path / "up"), sync_to_cloud=COPY, fail_fast="raise")
    (trial,) = tune.ExperimentAnalysis(tmp_path / "up" / "exp").trials
    assert trial.last_result["x"] == 1


def test_trials_of_another_machine_are_brought_here(tmp_path):
    elsewhere = "192.0.2.77"

    def report_from_elsewhere(config):
        tune.report({"node_ip": config["address"]})

    copied = []
    analysis = run(
        tmp_path,
        report_from_elsewhere,
        config={"address": tune.grid_search([machine.node_ip(), elsewhere])},
        sync_to_driver=lambda source, target: copied.append((source, target)),
    )
    folder = analysis.trials[1].path
    assert copied == [(f"{elsewhere}:{folder}/", folder)]


def test_the_experiment_goes_on_with_its_copies(tmp_path):
    """What copies is stored, so that a restore has it again."""
    run(tmp_path, upload_dir=str(tmp_path / "there"), sync_to_cloud=copy)
    shutil.rmtree(tmp_path / "there")
    run(tmp_path, upload_dir=str(tmp_path / "there"), sync_to_cloud=copy, resume=True)
    assert "results.parquet" in names(Path(tmp_path, "there", "exp"))
