import warnings

import pytest

from tuner.config import CheckpointConfig
from tuner.errors import ConfigError
from tuner.legacy.checkpoint_arguments import CheckpointArguments

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def config(**arguments):
    return CheckpointArguments(**arguments).as_config("tune.run")


def test_each_old_argument_has_its_field():
    assert config(
        checkpoint_freq=3,
        checkpoint_at_end=True,
        keep_checkpoints_num=2,
        checkpoint_score_attr="min-eval/loss",
    ) == CheckpointConfig(
        checkpoint_frequency=3,
        checkpoint_at_end=True,
        num_to_keep=2,
        checkpoint_score_attribute="eval/loss",
        checkpoint_score_order="min",
    )


def test_a_score_is_better_the_higher_it_is():
    assert config(checkpoint_score_attr="accuracy").checkpoint_score_order == "max"


def test_nothing_is_saved_at_the_end_unless_it_is_asked_for():
    assert config() == CheckpointConfig(checkpoint_at_end=False)


def test_todays_form_is_taken_as_it_is_or_as_a_dictionary():
    today = CheckpointConfig(num_to_keep=4)
    assert config(checkpoint_config=today) is today
    assert config(checkpoint_config={"num_to_keep": 4}) == today


@pytest.mark.parametrize("older", [{"checkpoint_freq": 1}, {"keep_checkpoints_num": 1}])
def test_both_forms_contradict_each_other(older):
    with pytest.raises(ConfigError, match=r"tune.run\(checkpoint_config=.* in it alone"):
        config(checkpoint_config=CheckpointConfig(), **older)


def test_something_else_is_refused():
    with pytest.raises(ConfigError, match=r"checkpoint_config=3\): use CheckpointConfig"):
        config(checkpoint_config=3)


def test_a_wrong_value_is_named():
    with pytest.raises(ConfigError, match=r"^tune.run\(keep_checkpoints_num=0\)"):
        config(keep_checkpoints_num=0)


def test_an_old_argument_warns_with_the_field_of_today():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FutureWarning)
        CheckpointArguments(checkpoint_freq=3).as_config("test_an_old_argument_warns")
    (warning,) = caught
    assert warning.category is FutureWarning
    assert "checkpoint_config=CheckpointConfig(checkpoint_frequency=…)" in str(warning.message)
