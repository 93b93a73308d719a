import optuna
import pytest

from configs import unet
from nerve_jax.commands import space
from nerve_jax.system.errors import InputError

WHOLE = {
    "optimizer.learning_rate": ("log", 1e-4, 1e-2),
    "optimizer.weight_decay": ("linear", 0.0, 0.2),
    "model.blocks_per_level": ("int", 1, 3),
    "model.widths": ("choice", (8, 16), (16, 32)),
    "loss.name": ("choice", "bce_dice", "focal_tversky"),
    "augment.gamma_fraction": ("linear", 0.1, 0.5),
}


def test_values_are_of_the_ranges_and_types_of_their_fields():
    space.check_space(WHOLE, unet.get_config())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.suggest(study.ask(), WHOLE) for _ in range(60)]
    for name, (kind, *values) in WHOLE.items():
        tried = [values_of[name] for values_of in drawn]
        if kind == "choice":
            assert set(tried) == set(values)
        else:
            assert values[0] <= min(tried) <= max(tried) <= values[1]
    rates = [values_of["optimizer.learning_rate"] for values_of in drawn]
    assert sum(rate < 1e-3 for rate in rates) > 18  # evenly in the logarithm


def test_a_trial_of_given_values_gives_them_back():
    params = {"model.widths": "(16, 32)", "optimizer.learning_rate": 2e-3}
    trial = optuna.trial.FixedTrial(params)
    entries = {name: WHOLE[name] for name in params}
    found = {"model.widths": (16, 32), "optimizer.learning_rate": 2e-3}
    assert space.suggest(trial, entries) == found


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"learning_rat": ("log", 1e-4, 1e-2)}, "no such field"),
        ({"augment.gama": ("linear", 0.1, 0.2)}, "no such field"),
        ({"optimizer.learning_rate": 0.1}, "not \\(kind, low, high\\)"),
        ({"optimizer.learning_rate": ("even", 0.1, 0.2)}, "kinds are log, linear"),
        ({"optimizer.learning_rate": ("log", 0.0, 0.1)}, "logarithm wants low above 0"),
        ({"optimizer.learning_rate": ("linear", 0.2, 0.1)}, "low must be below high"),
        ({"batch_size": ("linear", 4.0, 8.0)}, "'linear' is for float"),
        ({"optimizer.learning_rate": ("int", 1, 3)}, "'int' is for int"),
        ({"loss.name": ("choice", "bce_dice", 3)}, "3 must be str, not int"),
        ({"optimizer.learning_rate": ("log", "a", "b")}, "low and high must be float"),
        ({"model.blocks_per_level": ("int", 1.5, 3)}, "low and high must be int"),
        ({"seed": ("int", 0, 9)}, "all trials share it"),
        ({"data.image_size": ("choice", (24, 32), (48, 64))}, "all trials share it"),
        ({"optimizer.learning_rate": ("linear", -0.1, 0.1)}, "-0.1 must be above 0"),
        ({"augment.flip_prob": ("linear", 0.1, 1.1)}, "1.1 must be at least 0"),
        ({"optimizer.ema_decay": ("linear", 0.9, 1.0)}, "1.0 must be .* below 1"),
        ({"augment.elastic_cells": ("int", 0, 5)}, "0 must be at least 1"),
        ({"loss.name": ("choice", "bce_dice", "l2")}, "not one of: bce_dice, focal"),
        ({"model.widths": ("choice", (8,), (0,))}, "must each be at least 1"),
        ({"model.widths": ("choice", (8,), 8)}, "must be a tuple of int, not int"),
        ({}, "it names no field"),
    ],
)
def test_what_cannot_be_tried_is_named(entry, said):
    with pytest.raises(InputError, match=said):
        space.check_space(entry, unet.get_config())


def test_all_problems_are_said_at_once():
    wrong = {"optimizer.warmup_steps": ("log", 1.0, 2.0), "los": ("choice", "a", "b")}
    with pytest.raises(InputError, match=r"searched \(2 problems\)"):
        space.check_space(wrong, unet.get_config())
