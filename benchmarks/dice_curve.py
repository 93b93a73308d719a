"""Dice of a fold's validation frames against seconds of training."""

import time
from collections.abc import Callable

import numpy as np

from nerve_jax.data.examples import Examples
from nerve_jax.runs.folder import Fold
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.metrics import compute_dice
from nerve_jax.scoring.scores import Predicted, count_frames

SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CALIBRATION_STEPS = 40


def measure_rate(create: Callable) -> float:
    """Steps a second of a contestant that is thrown away; see `draw_points`."""
    trial = create(10_000)
    trial.train(CALIBRATION_STEPS // 4)
    started = time.perf_counter()
    trial.train(CALIBRATION_STEPS)
    return CALIBRATION_STEPS / (time.perf_counter() - started)


def draw_points(
    contestant,
    examples: Examples,
    val: np.ndarray,
    num_steps: int,
    shares: tuple[float, ...] = SHARES,
) -> list[dict]:
    """Train, with a score after each of some shares of the steps.

    Args:
      contestant: a `NerveUNet`, or what has its `train` and `predict`.
      examples: the data set.
      val: positions of the frames to score.
      num_steps: to train for.
      shares: rising, the last of them 1.

    Returns:
      Of each share: "seconds" of training, "step" and "dice" of every frame.
    """
    step, seconds, points = 0, 0.0, []
    for share in shares:
        until = round(share * num_steps)
        started = time.perf_counter()
        contestant.train(until - step)
        seconds += time.perf_counter() - started
        step = until
        dice = score(examples, val, contestant.predict(examples.images[val]))
        points.append({"seconds": seconds, "step": step, "dice": dice.tolist()})
        print(f"{seconds:6.1f} s, step {step:6d}: Dice {dice.mean():.4f}", flush=True)
    return points


def describe_fold(examples: Examples, groups: list[str], fold: Fold) -> dict:
    """What a curve of a fold is read with."""
    return {
        "num_train_frames": len(fold.train),
        "groups": [groups[i] for i in fold.val],
        "empty_dice": float(1 - examples.presence[fold.val].mean()),
    }


def score(examples: Examples, val: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Dice of each frame at its own size, cut at 0.5."""
    predicted = Predicted(val, probs, np.ones(len(probs), np.float32))
    rules = [Rule(0.5)] * len(probs)
    return compute_dice(count_frames(examples, predicted, rules))
