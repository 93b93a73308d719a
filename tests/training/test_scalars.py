import inspect

import jax

from configs import unet
from nerve_jax.training import scalars
from nerve_jax.training.augment import make_augment
from nerve_jax.training.losses import make_loss
from nerve_jax.training.optimizer import create_optimizer, create_transform


def test_every_number_that_functions_take_as_an_argument_is_a_float_of_its_section():
    """A float that is compared in Python would break as an argument of a program."""
    sections = unet.get_config().to_dict()
    for section, functions in (
        ("augment", [make_augment]),
        ("loss", [make_loss]),
        ("optimizer", [create_optimizer, create_transform]),
    ):
        parameters = {}
        for function in functions:
            parameters |= inspect.signature(function).parameters
        for name, value in sections[section].items():
            takes = parameters[name].annotation is scalars.Scalar
            assert takes == isinstance(value, float), name


def test_a_number_at_zero_is_no_argument():
    sections = unet.get_config().to_dict()
    sections["augment"]["elastic_fraction"] = 0.0
    found = scalars.read_scalars(sections)
    assert found["optimizer.learning_rate"] == sections["optimizer"]["learning_rate"]
    assert found["augment.flip_prob"] == 0.5
    assert "augment.elastic_fraction" not in found
    assert "augment.cutmix_prob" not in found
    assert "optimizer.warmup_steps" not in found
    whole = scalars.fill_in(sections, found | {"augment.flip_prob": 0.25})
    assert set(whole) == set(scalars.SECTIONS)
    assert whole["augment"]["elastic_fraction"] == 0.0
    assert whole["augment"]["flip_prob"] == 0.25
    assert whole["loss"]["name"] == "bce_dice"


def test_an_argument_may_be_on_whatever_it_is():
    assert not scalars.is_on(0.0)
    assert scalars.is_on(0.1)
    seen = []
    jax.jit(lambda x: seen.append(scalars.is_on(x)) or x)(0.0)
    assert seen == [True]


def test_programs_are_shared_by_what_differs_in_scalars_alone():
    first, same, off, wider = (unet.get_config() for _ in range(4))
    same.optimizer.learning_rate, same.augment.gamma_fraction = 1e-4, 0.7
    off.augment.gamma_fraction = 0.0
    wider.model.widths = (32, 64)
    configs = (first, same, off, wider)
    texts = [scalars.describe_program(c.to_dict()) for c in configs]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
