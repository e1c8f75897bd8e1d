"""A reinforcement learning problem in numpy: a linear policy balances a pole on a cart.

The physics are those of Barto, Sutton and Anderson, "Neuronlike Adaptive Elements That Can Solve
Difficult Learning Control Problems", 1983, with the constants and limits of Gymnasium's
CartPole-v1. The policy is trained by REINFORCE (Williams, 1992) with the mean return of a batch of
episodes as its baseline.
"""

import numpy as np

import tuner as tune

EPISODES = 8  # in one batch, simulated side by side
MOST_STEPS = 500


class CartPole(tune.Trainable):
    """One step is one batch of episodes and one update of the policy."""

    def setup(self, config):
        self.rng = np.random.default_rng([config["seed"], config["trial"]])
        self.weights = np.zeros(5)

    def step(self):
        rate, discount = self.config["rate"], self.config["discount"]
        states, actions, alive = rollout(self.weights, self.rng)
        returns = discounted(alive, discount)
        advantage = np.where(alive, returns - returns[alive].mean(), 0.0)
        advantage /= returns[alive].std() + 1e-8
        surprise = actions - chance_of_right(states, self.weights)
        slope = np.einsum("te,te,tef->f", advantage, surprise, states) / alive.sum()
        self.weights = self.weights + rate * slope
        return {"reward": float(alive.sum(axis=0).mean())}

    def save_checkpoint(self, checkpoint_dir):
        return {"weights": self.weights, "rng": self.rng}

    def load_checkpoint(self, checkpoint):
        self.weights, self.rng = checkpoint["weights"], checkpoint["rng"]


def chance_of_right(states, weights):
    """The probability of pushing to the right, for states with a constant 1 as their last value."""
    return 1 / (1 + np.exp(-np.clip(states @ weights, -30, 30)))


def rollout(weights, rng):
    """A batch of episodes: states, actions, and at which steps each one was not over."""
    state = rng.uniform(-0.05, 0.05, (4, EPISODES))
    running = np.ones(EPISODES, dtype=bool)
    states, actions, alive = [], [], []
    for _ in range(MOST_STEPS):
        features = np.vstack([state, np.ones(EPISODES)]).T
        right = rng.random(EPISODES) < chance_of_right(features, weights)
        states.append(features)
        actions.append(right)
        alive.append(running)
        state = moved(state, np.where(right, 10.0, -10.0))
        running = running & (np.abs(state[0]) < 2.4) & (np.abs(state[2]) < np.radians(12))
        if not running.any():
            break
    return np.array(states), np.array(actions), np.array(alive)


def moved(state, force):
    """Position, speed, angle and its speed after 0.02 seconds."""
    _, speed, angle, spin = state
    sine, cosine = np.sin(angle), np.cos(angle)
    push = (force + 0.05 * spin**2 * sine) / 1.1
    turn = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    acceleration = push - 0.05 * turn * cosine / 1.1
    return state + 0.02 * np.array([speed, acceleration, spin, turn])


def discounted(alive, discount):
    """The discounted sum of rewards from each step on, 1 for each step."""
    returns = np.zeros(alive.shape)
    rest = np.zeros(alive.shape[1])
    for step in range(len(alive) - 1, -1, -1):
        rest = alive[step] * (1 + discount * rest)
        returns[step] = rest
    return returns
