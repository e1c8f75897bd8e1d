"""Thread pools have one thread for a while."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tuner.integrations.one_thread import one_thread


def num_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


def test_there_is_one_thread_within_and_as_many_as_before_afterwards() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(3):
        with one_thread():
            assert num_threads() == {1}
        assert num_threads() == {3}
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert num_threads() == {3}
