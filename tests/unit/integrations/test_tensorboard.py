import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import PARAMS, RESULTS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tuner.experiment.trial import Trial
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.recording.steps import MAX_STEP

TIME = 1_700_000_000.0


def make_trial(folder, params=None, trial_id="a"):
    trial = Trial(
        trial_id=trial_id,
        config=params or {},
        evaluated_params=params or {},
        trainable_name="f",
        path=str(folder),
    )
    trial.start_time = TIME
    return trial


def log(callback, trial, *results):
    callback.on_trial_start(0, [trial], trial)
    for result in results:
        trial.last_result = result
        callback.on_trial_result(0, [trial], trial, result)
    callback.flush()


def result(iteration, **metrics):
    return {"training_iteration": iteration, "timestamp": int(TIME) + iteration, **metrics}


def read(folder, **kwargs):
    sizes = {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0}
    return EventAccumulator(str(folder), size_guidance=sizes, **kwargs).Reload()


def scalars(folder, name):
    return [(event.step, event.value) for event in read(folder).Scalars(f"ray/tune/{name}")]


def test_numbers_are_scalars_under_the_names_that_ray_gives_them(tmp_path):
    log(
        TBXLoggerCallback(),
        make_trial(tmp_path),
        result(1, loss=0.5, done=False, eval={"acc (top 1)": 3}, pid=1, time_total_s=1.0),
        result(2, loss=0.25, done=True),
    )
    assert sorted(read(tmp_path).Tags()["scalars"]) == [
        "ray/tune/done",
        "ray/tune/eval/acc__top_1_",
        "ray/tune/loss",
    ]
    assert scalars(tmp_path, "loss") == [(1, 0.5), (2, 0.25)]
    assert scalars(tmp_path, "done") == [(1, 0.0), (2, 1.0)]
    assert read(tmp_path).Scalars("ray/tune/loss")[1].wall_time == TIME + 2


def test_the_step_is_the_number_of_timesteps_where_there_is_one(tmp_path):
    log(TBXLoggerCallback(), make_trial(tmp_path), result(1, loss=1, timesteps_total=500))
    assert scalars(tmp_path, "loss") == [(500, 1.0)]


def events_of(folder):
    (path,) = Path(folder).glob("events.out.tfevents.*")
    return list(LegacyEventFileLoader(str(path)).Load())


def test_one_event_holds_all_of_a_result(tmp_path):
    log(TBXLoggerCallback(), make_trial(tmp_path), result(1, **{f"m{i}": i for i in range(12)}))
    version, start, event = events_of(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status
    assert len(event.summary.value) == 12


def test_all_kinds_of_values(tmp_path):
    log(
        TBXLoggerCallback(),
        make_trial(tmp_path),
        result(
            1,
            nan=math.nan,
            inf=-math.inf,
            huge=10**400,
            large=1e300,
            none=None,
            text="hello\ud800",
            numbers=[1, 2, 2.5],
            unfit=["a", {}],
            ragged=[[1], [1, 2]],
            empty=[],
            nested={},
            numpy=np.float32(0.5).item(),
            array=np.ones((2, 2)),
            torch=torch.tensor([1.0, 2.0]),
            nans=[math.nan, math.inf],
            bytes=b"x",
            after=1,
        ),
    )
    tags = read(tmp_path).Tags()
    assert math.isnan(scalars(tmp_path, "nan")[0][1])
    assert scalars(tmp_path, "inf") == [(1, -math.inf)]
    assert scalars(tmp_path, "huge") == [(1, math.inf)]
    assert scalars(tmp_path, "large") == [(1, math.inf)]
    assert scalars(tmp_path, "after") == [(1, 1.0)]
    assert sorted(tags["histograms"]) == ["ray/tune/array", "ray/tune/numbers", "ray/tune/torch"]
    histogram = read(tmp_path).Histograms("ray/tune/numbers")[0].histogram_value
    assert (histogram.num, histogram.min, histogram.max) == (3, 1, 2.5)
    assert tags["tensors"] == ["ray/tune/text/text_summary"]
    text = read(tmp_path).Tensors("ray/tune/text/text_summary")[0].tensor_proto
    assert text.string_val[0] == b"hello\\ud800"


@pytest.mark.parametrize(
    ("odd", "step"),
    [
        ({"timesteps_total": 1000.0}, 1000),
        ({"timesteps_total": 10**400}, MAX_STEP),
        ({"timesteps_total": "many"}, 1),
        ({"timestamp": "2024-01-01"}, 1),
        ({"timestamp": math.nan}, 1),
    ],
)
def test_an_odd_step_or_time_costs_no_values(tmp_path, odd, step):
    callback, trial = TBXLoggerCallback(), make_trial(tmp_path, {"lr": 0.5})
    log(callback, trial, result(1, loss=0.5) | odd)
    change(callback, trial, {"lr": 0.25})
    assert scalars(tmp_path, "loss") == [(step, 0.5)]
    assert 1.6e9 < read(tmp_path).Scalars("ray/tune/loss")[0].wall_time < 1e11
    callback.on_trial_rewound(trial, 1)  # there must be a step after it
    log(callback, trial)
    assert scalars(tmp_path, "loss") == [(step, 0.5)]


def test_what_utf8_cannot_say_is_escaped(tmp_path):
    callback, trial = TBXLoggerCallback(), make_trial(tmp_path, {"a\ud800": "b\ud800", "c": 1})
    log(callback, trial, result(1, **{"loss\ud800": 0.5, "text": "t\ud800"}))
    change(callback, trial, {"a\ud800": "b\udcff", "c": 1})
    log(callback, trial, result(2))
    assert scalars(tmp_path, "loss_") == [(1, 0.5)]
    assert texts(tmp_path, "text") == [(1, "t\\ud800")]
    assert texts(tmp_path, "config/a_") == [(1, "b\\ud800"), (2, "b\\udcff")]
    content = read(tmp_path).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["a\\ud800"].string_value == "b\\ud800"


@settings(max_examples=150, deadline=None)
@given(
    results=RESULTS,
    params=st.lists(PARAMS, min_size=1, max_size=3),
    restarted=st.booleans(),
)
def test_whatever_is_reported_or_chosen_the_file_can_be_read(
    tmp_path_factory, results, params, restarted
):
    folder = tmp_path_factory.mktemp("trial")
    callback, trial = TBXLoggerCallback(), make_trial(folder, params[0])
    for i, odd in enumerate(results):
        log(callback, trial, {"training_iteration": i + 1, "timestamp": TIME, **odd, "known": i})
        change(callback, trial, params[i % len(params)])
        if restarted:
            callback.close()
            callback = TBXLoggerCallback()
    callback.on_trial_complete(0, [trial], trial)
    callback.close()
    accumulator = read(folder, purge_orphaned_data=False)
    if results:
        values = [event.value for event in accumulator.Scalars("ray/tune/known")]
        assert values == list(range(len(results)))


def test_what_cannot_be_shown_is_told_once_at_debug_level(tmp_path, caplog):
    caplog.set_level("DEBUG", "tuner")
    results = [result(i, odd_one=["a"]) for i in (1, 2, 3)]
    log(TBXLoggerCallback(), make_trial(tmp_path), *results)
    assert caplog.text.count("odd_one") == 1


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 1, 4, 5)])
def test_arrays_with_channels_are_images(tmp_path, shape):
    pixels = np.linspace(0, 1, math.prod(shape)).reshape(shape).tolist()
    log(TBXLoggerCallback(), make_trial(tmp_path), result(1, picture=pixels))
    (image,) = read(tmp_path).Images("ray/tune/picture")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.height == 4


def test_arrays_with_other_shapes_are_histograms(tmp_path):
    log(TBXLoggerCallback(), make_trial(tmp_path), result(1, array=np.ones((7, 4, 5)).tolist()))
    assert read(tmp_path).Tags()["histograms"] == ["ray/tune/array"]


def test_rewinding_makes_tensorboard_drop_the_superseded_results(tmp_path):
    callback, trial = TBXLoggerCallback(), make_trial(tmp_path, {"lr": 0.1})
    log(callback, trial, *(result(i, loss=i) for i in (1, 2, 3)))
    trial.last_result = result(1)
    callback.on_trial_rewound(trial, 1)
    log(callback, trial, result(2, loss=20))
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 20.0)]
    assert "_hparams_/session_start_info" in read(tmp_path).PluginTagToContent("hparams")


def test_rewinding_by_timesteps(tmp_path):
    callback, trial = TBXLoggerCallback(), make_trial(tmp_path)
    log(callback, trial, *(result(i, loss=i, timesteps_total=100 * i) for i in (1, 2, 3)))
    trial.last_result = result(2, timesteps_total=200)
    callback.on_trial_rewound(trial, 2)
    log(callback, trial, result(3, loss=30, timesteps_total=300))
    assert scalars(tmp_path, "loss") == [(100, 1.0), (200, 2.0), (300, 30.0)]


def test_a_new_logger_goes_on_in_the_same_file(tmp_path):
    trial = make_trial(tmp_path, {"lr": 0.1})
    log(TBXLoggerCallback(), trial, result(1, loss=1))
    log(TBXLoggerCallback(), trial, result(2, loss=2))
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 2.0)]
    assert len(list(tmp_path.iterdir())) == 1


def change(callback, trial, params):
    trial.evaluated_params = params
    callback.on_trial_change(0, [trial], trial)


def texts(folder, name):
    events = read(folder).Tensors(f"ray/tune/{name}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]


def test_a_parameter_that_changes_is_a_series_of_all_trials(tmp_path):
    callback = TBXLoggerCallback()
    changed = make_trial(tmp_path / "changed", {"opt/lr": 0.5, "act": "relu", "width": 8}, "a")
    other = make_trial(tmp_path / "other", {"opt/lr": 0.25, "act": "tanh", "width": 8}, "b")
    for trial in (changed, other):
        log(callback, trial, *(result(i, loss=i) for i in (1, 2, 3)))
    change(callback, changed, {"opt/lr": 2, "act": "relu", "width": 8})
    log(callback, changed, result(4, loss=4), result(5, loss=5))
    log(callback, other, result(4, loss=4))
    change(callback, changed, {"opt/lr": 2, "act": None, "width": 8})
    log(callback, changed, result(6, loss=6))
    log(callback, other, result(5, loss=5))
    late = make_trial(tmp_path / "late", {"opt/lr": 1.0}, "c")
    log(callback, late, result(1, loss=1), result(2, loss=2))

    assert scalars(changed.path, "config/opt/lr") == [
        *[(1, 0.5), (3, 0.5)],
        *[(4, 2.0), (5, 2.0), (6, 2.0)],
    ]
    assert texts(changed.path, "config/act") == [(1, "relu"), (6, "None")]
    assert scalars(other.path, "config/opt/lr") == [(1, 0.25), (4, 0.25), (5, 0.25)]
    assert texts(other.path, "config/act") == [(1, "tanh")]
    assert scalars(late.path, "config/opt/lr") == [(1, 1.0), (2, 1.0)]
    assert len(events_of(late.path)) == 3 + 2, "nothing for the parameter that it has not got"
    began = read(changed.path).Scalars("ray/tune/config/opt/lr")
    assert [event.wall_time - TIME for event in began] == [1, 3, 4, 5, 6]
    for trial in (changed, other, late):
        assert not [tag for tag in read(trial.path).Tags()["scalars"] if "width" in tag]


def test_a_new_logger_goes_on_with_the_series_of_parameters(tmp_path):
    trial = make_trial(tmp_path, {"lr": 0.5, "act": "relu"})
    callback = TBXLoggerCallback()
    log(callback, trial, result(1, loss=1), result(2, loss=2))
    change(callback, trial, {"lr": 0.25, "act": "tanh"})
    log(callback, trial, result(3, loss=3))
    change(callback, trial, {"lr": 0.5, "act": "relu"})
    callback.close()

    log(TBXLoggerCallback(), trial, result(4, loss=4), result(5, loss=5))
    assert scalars(tmp_path, "config/lr") == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.5), (5, 0.5)]
    assert texts(tmp_path, "config/act") == [(1, "relu"), (3, "tanh"), (4, "relu")]


def test_the_first_step_is_remembered_by_a_new_logger(tmp_path):
    trial = make_trial(tmp_path, {"lr": 0.5})
    log(TBXLoggerCallback(), trial, *(result(i, loss=i) for i in (1, 2, 3)))
    callback = TBXLoggerCallback()
    log(callback, trial)
    change(callback, trial, {"lr": 0.25})
    log(callback, trial, result(4, loss=4))
    assert scalars(tmp_path, "config/lr") == [(1, 0.5), (3, 0.5), (4, 0.25)]


def test_a_file_whose_end_is_missing_is_gone_on_with(tmp_path):
    trial = make_trial(tmp_path, {"lr": 0.5})
    log(TBXLoggerCallback(), trial, result(1, loss=1), result(2, loss=2))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    callback = TBXLoggerCallback()
    log(callback, trial)
    before = path.stat().st_size
    change(callback, trial, {"lr": 0.25})
    log(callback, trial, result(3, loss=3))
    assert b"config/lr" in path.read_bytes()[before:]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_trial_that_begins_anew_begins_its_series_anew(tmp_path, restarted):
    callback, trial = TBXLoggerCallback(), make_trial(tmp_path, {"lr": 0.5})
    log(callback, trial, result(1, loss=1), result(2, loss=2))
    change(callback, trial, {"lr": 0.25})
    log(callback, trial, result(3, loss=3))
    trial.last_result = {}
    callback.on_trial_rewound(trial, 0)
    callback.flush()
    if restarted:
        callback = TBXLoggerCallback()
        trial.last_result = {"training_iteration": 1}  # as if it had reported: the file is kept
    log(callback, trial, result(1, loss=1), result(2, loss=2))
    change(callback, trial, {"lr": 0.125})
    log(callback, trial, result(3, loss=3))
    expected = [(1, 0.25), (2, 0.25), (3, 0.125)]
    assert scalars(tmp_path, "config/lr") == expected


def test_the_hparams_tab_shows_the_experiment(tmp_path):
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    params = [
        {"lr": 0.1, "net/act": "relu", "bias": True, "layers": 2},
        {"lr": 0.2, "net/act": None, "bias": False, "layers": 3, "only_here": (1, 2)},
    ]
    callback = TBXLoggerCallback()
    for i, chosen in enumerate(params):
        trial = make_trial(tmp_path / f"t{i}", chosen, f"t{i}")
        log(callback, trial, result(1, loss=i + 0.5))
        (callback.on_trial_error if i else callback.on_trial_complete)(0, [], trial)

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    from tensorboard.plugins import base_plugin

    context = backend_context.Context(
        base_plugin.TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(tmp_path)))
    )
    request = RequestContext()
    metadata = context.hparams_metadata(request, "")
    experiment = context.experiment_from_metadata(
        request, "", True, metadata, context.hparams_from_data_provider(request, "", limit=None)
    )
    assert {info.name for info in experiment.hparam_infos} == {
        "lr",
        "net/act",
        "bias",
        "layers",
        "only_here",
    }
    assert "ray/tune/loss" in {info.name.tag for info in experiment.metric_infos}

    groups = list_session_groups.Handler(
        request_context=request,
        backend_context=context,
        experiment_id="",
        request=api_pb2.ListSessionGroupsRequest(
            start_index=0,
            slice_size=10,
            allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE],
        ),
    ).run()
    shown = {group.name: group for group in groups.session_groups}
    assert shown["t0"].hparams["lr"].number_value == 0.1
    assert shown["t0"].hparams["net/act"].string_value == "relu"
    assert shown["t0"].hparams["bias"].bool_value is True
    assert shown["t1"].hparams["only_here"].string_value == "(1, 2)"
    assert shown["t0"].sessions[0].status == api_pb2.STATUS_SUCCESS
    assert shown["t1"].sessions[0].status == api_pb2.STATUS_FAILURE
    losses = {
        g.name: [m.value for m in g.metric_values if m.name.tag == "ray/tune/loss"]
        for g in shown.values()
    }
    assert losses == {"t0": [0.5], "t1": [1.5]}


def test_nothing_heavy_is_imported_and_tensorboardx_stays_whole(tmp_path):
    code = f"""
import sys
from tuner.experiment.trial import Trial
from tuner.integrations.tensorboard import TBXLoggerCallback
assert "google.protobuf" not in sys.modules
trial = Trial(trial_id="a", config={{}}, trainable_name="f", path={str(tmp_path)!r})
callback = TBXLoggerCallback()
callback.on_trial_result(0, [trial], trial, {{"loss": 1, "training_iteration": 1}})
callback.close()
assert not {{"torch", "numpy", "tensorboardX"}} & set(sys.modules)
import tensorboardX
tensorboardX.SummaryWriter(logdir={str(tmp_path / "theirs")!r}).add_scalar("x", 1.0, 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert scalars(tmp_path, "loss") == [(1, 1.0)]
