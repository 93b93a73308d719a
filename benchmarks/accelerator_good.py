"""Dice against seconds: fold 0 of the phantom by the settings of configs/kaggle.py."""

import time

from accelerator_fast import describe_device
from accelerator_results import Results
from accelerator_setting import Setting
from dice_curve import describe_fold, draw_points, measure_rate
from nerve_unet import NerveUNet
from phantom_frames import deal_fold

from nerve_jax.data.population import find_people

SHARE_OF_TRAINING = 0.6  # of the time left; compiling and scoring take the rest
STEPS_EACH = 400  # every share of a curve is then a whole number of calls


def measure_dice(setting: Setting) -> dict:
    """Train for the time left; see `draw_points` for the points."""
    config = setting.create_config("kaggle")
    population = find_people(setting.simulate(config))
    examples, fold = population.examples, deal_fold(population)

    def create(num_train_steps: int) -> NerveUNet:
        return NerveUNet(config, examples, fold.train, num_train_steps=num_train_steps)

    num_steps = setting.choose(0, 20)
    if not num_steps:
        rate = _find_rate(setting) or measure_rate(create)
        seconds = (setting.until - time.time()) * SHARE_OF_TRAINING
        num_steps = max(int(rate * seconds) // STEPS_EACH, 1) * STEPS_EACH
    net = create(num_steps)
    return {
        "points": draw_points(net, examples, fold.val, num_steps),
        "num_steps": num_steps,
        "compile_seconds": net.compile_seconds,
        **describe_fold(examples, population.groups, fold),
        **describe_device(),
    }


def _find_rate(setting: Setting) -> float | None:
    """Steps a second, where they were measured before."""
    found = Results(setting.folder).read()["parts"].get("speed kaggle bfloat16")
    return found and found["train"] / found["batch_size"]
