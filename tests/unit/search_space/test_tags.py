"""Tags: short, readable, the same in every run, and safe as file names."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.search_space import format_tag


class Plain:
    """An object whose text has its address in it."""


@pytest.mark.parametrize(
    ("evaluated", "tag"),
    [
        ({}, ""),
        ({"alpha": 0.5, "layers": 2}, "alpha=0.5,layers=2"),
        ({"lr": 1.23456789e-5, "x": 123456.0, "y": -0.1 * 3}, "lr=1.235e-05,x=1.235e+05,y=-0.3"),
        ({"nn_layers/0": 16, "nn_layers/1": 64}, "nn_layers_0=16,nn_layers_1=64"),
        ({"model/depth": 3, "data/size": 4}, "depth=3,size=4"),
        ({"a/b": 1, "a/c/b": 2}, "a_b=1,c_b=2"),
        ({"b": 1, "a/b": 2}, "b=1,a_b=2"),
        ({"x/l/0": 1, "y/l/0": 2}, "x_l_0=1,y_l_0=2"),
        ({"flag": True, "none": None, "n": float("nan")}, "flag=True,none=None,n=nan"),
        ({"f": len, "kind": dict, "o": Plain()}, "f=len,kind=dict,o=Plain"),
        ({"l": [1, 2], "d": {"k": 1}, "a": np.arange(2)}, "l=1_2,d=k_1,a=array_0_1"),
        ({"np": np.float64(0.123456), "path": "a/b c:d*?.csv"}, "np=0.1235,path=a_b_c_d_.csv"),
    ],
)
def test_tags(evaluated, tag):
    assert format_tag(evaluated) == tag


def test_long_values_are_cut():
    assert format_tag({"name": "x" * 300, "n": 1}) == f"name={'x' * 32},n=1"
    assert len(format_tag({f"parameter_{n}": n for n in range(100)})) == 128


@given(st.dictionaries(st.text(max_size=9), st.text() | st.floats() | st.binary(), max_size=9))
def test_tags_can_stand_in_a_file_name(evaluated):
    assert re.fullmatch(r"[\w.,+=-]{0,128}", format_tag(evaluated))
