"""A Gaussian process bandit whose rewards drift with time: what PB2 chooses points by.

It needs scikit-learn, so it is imported when it is used.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Hyperparameter, Kernel, WhiteKernel
from threadpoolctl import threadpool_limits

from tuner.schedulers.arm import Arm

Array = NDArray[np.float64]

_NUM_CANDIDATES = 2000
_NEARBY = 0.05  # how far candidates of the second round lie from the best one of the first
_MOST_DEVIATIONS = 2.0  # gains beyond that many standard deviations count as that


class TimeVaryingKernel(Kernel):  # type: ignore[misc]
    """A squared exponential kernel that forgets.

    `k((t, x), (t', x')) = exp(-|x - x'|² / (2 l²)) * (1 - epsilon) ** (|t - t'| / 2)`

    Source: Bogunovic et al., "Time-Varying Gaussian Process Bandit Optimization", 2016
    (arXiv:1601.06650), section 3, with the kernel of PB2's equation 3. The first column of the data
    is t, the others are x.

    Args:
        length_scale: l.
        epsilon: How much is forgotten in one unit of time, 0 to 1.
        length_scale_bounds: Between which it is fitted.
        epsilon_bounds: Likewise.

    Example:
        >>> kernel = TimeVaryingKernel(length_scale=1.0, epsilon=0.19)
        >>> kernel([[0.0, 0.3], [2.0, 0.3]]).round(6).tolist()
        [[1.0, 0.81], [0.81, 1.0]]
    """

    def __init__(
        self,
        length_scale: float = 1.0,
        epsilon: float = 0.1,
        length_scale_bounds: tuple[float, float] = (0.05, 20.0),
        epsilon_bounds: tuple[float, float] = (1e-3, 0.5),
    ) -> None:
        self.length_scale = length_scale
        self.epsilon = epsilon
        self.length_scale_bounds = length_scale_bounds
        self.epsilon_bounds = epsilon_bounds

    @property
    def hyperparameter_length_scale(self) -> Any:
        """Tells scikit-learn to fit it."""
        return Hyperparameter("length_scale", "numeric", self.length_scale_bounds)

    @property
    def hyperparameter_epsilon(self) -> Any:
        """Tells scikit-learn to fit it."""
        return Hyperparameter("epsilon", "numeric", self.epsilon_bounds)

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The matrix of the kernel, and its gradient by the logarithms of epsilon and l."""
        left = np.atleast_2d(X)
        right = left if Y is None else np.atleast_2d(Y)
        elapsed = np.abs(left[:, None, 0] - right[None, :, 0])
        squares = ((left[:, None, 1:] - right[None, :, 1:]) ** 2).sum(axis=-1)
        squares /= self.length_scale**2
        kept = 1.0 - self.epsilon
        matrix = np.exp(-squares / 2) * kept ** (elapsed / 2)
        if not eval_gradient:
            return matrix
        by_epsilon = -matrix * elapsed / 2 * self.epsilon / kept
        return matrix, np.dstack([by_epsilon, matrix * squares])

    def diag(self, X: Any) -> Array:
        """The variance of each row, 1."""
        return np.ones(len(X))

    def is_stationary(self) -> bool:
        """Whether only differences count."""
        return True


def choose(
    trained: Sequence[tuple[Arm, float]],
    running: Sequence[Arm],
    *,
    time: float,
    reward: float,
    seed: int,
) -> tuple[float, ...]:
    """The point of the unit cube to train with next.

    It maximizes an upper confidence bound on the gain: the mean given what has been `trained`, and
    the deviation given also what is `running`, whatever that may gain (GP-BUCB; Desautels et al.,
    "Parallelizing Exploration-Exploitation Tradeoffs in Gaussian Process Bandit Optimization",
    2014).

    Args:
        trained: Arms and what was gained with them per unit of time; at least one.
        running: Arms whose gains are not known yet.
        time: When the training will begin, in rounds.
        reward: The reward then.
        seed: Where candidates are drawn from.

    Example:
        >>> from tuner.schedulers.arm import Arm
        >>> arms = [(Arm(0.0, 0.0, (x / 10,)), -((x / 10 - 0.7) ** 2)) for x in range(0, 11, 2)]
        >>> (x,) = choose(arms, [], time=1.0, reward=0.0, seed=0)
        >>> 0.5 < x < 0.9
        True
    """
    inputs = _Inputs([arm for arm, _ in trained] + list(running), reward)
    x = inputs.rows([arm for arm, _ in trained])
    y = _standardized(np.array([gain for _, gain in trained]))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few data leave a kernel open
        known = _fitted(_kernel(), x, y)
        noise = known.kernel_.k2.noise_level
        # Deviations do not depend on the gains, so those of running arms can be anything.
        everything = np.vstack([x, inputs.rows(running)]) if running else x
        expected = _fitted(known.kernel_, everything, np.zeros(len(everything)), optimizer=None)

        def bound(points: Array) -> Array:
            candidates = inputs.with_context(points, time=time, reward=reward)
            _, deviation = expected.predict(candidates, return_std=True)
            signal = np.sqrt(np.maximum(deviation**2 - noise, 0.0))
            return np.asarray(known.predict(candidates) + _caution(len(trained)) * signal)

        rng = np.random.default_rng(seed)
        first = rng.random((_NUM_CANDIDATES, len(trained[0][0].point)))
        best = first[np.argmax(bound(first))]
        nearby = np.clip(best + _NEARBY * rng.standard_normal(first.shape), 0.0, 1.0)
        candidates = np.vstack([best, nearby])
        return tuple(float(place) for place in candidates[np.argmax(bound(candidates))])


class _Inputs:
    """Rows of time, reward and hyperparameters, with rewards from 0 to 1."""

    def __init__(self, arms: Sequence[Arm], reward: float) -> None:
        rewards = [reward, *(arm.reward for arm in arms)]
        self._least = min(rewards)
        self._width = max(rewards) - self._least or 1.0

    def rows(self, arms: Sequence[Arm]) -> Array:
        return np.array([[arm.time, self._scaled(arm.reward), *arm.point] for arm in arms])

    def with_context(self, points: Array, *, time: float, reward: float) -> Array:
        context = np.tile([time, self._scaled(reward)], (len(points), 1))
        return np.hstack([context, points])

    def _scaled(self, reward: float) -> float:
        return (reward - self._least) / self._width


def _kernel() -> Kernel:
    signal = ConstantKernel(1.0, (0.05, 20.0)) * TimeVaryingKernel()
    return signal + WhiteKernel(0.1, (1e-3, 1.0))


def _fitted(
    kernel: Kernel, x: Array, y: Array, optimizer: str | None = "fmin_l_bfgs_b"
) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(kernel=kernel, optimizer=optimizer).fit(x, y)


def _standardized(gains: Array) -> Array:
    deviation = gains.std() or 1.0
    standardized: Array = (gains - gains.mean()) / deviation
    return standardized.clip(-_MOST_DEVIATIONS, _MOST_DEVIATIONS)


def _caution(num_trained: int) -> float:
    """How many deviations the bound lies above the mean; the constants are those of PB2's code."""
    return math.sqrt(0.2 + max(0.0, math.log(0.4 * num_trained)))
