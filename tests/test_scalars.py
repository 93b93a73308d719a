import inspect

import jax

from configs import unet
from nerve_jax import scalars
from nerve_jax.augment import make_augment


def test_strengths_are_the_numbers_that_augmentation_takes():
    given = set(inspect.signature(make_augment).parameters)
    assert given - set(scalars.STRENGTHS) == {"elastic_cells"}
    assert set(scalars.STRENGTHS) < given


def test_a_number_at_zero_is_no_argument():
    config = unet.get_config()
    config.augment.elastic_fraction = 0.0
    found = scalars.read_scalars(config)
    assert found["learning_rate"] == config.learning_rate
    assert found["augment.flip_prob"] == 0.5
    assert "augment.elastic_fraction" not in found
    assert "cutmix_prob" not in found
    whole = scalars.fill_in(found)
    assert set(whole) == set(scalars.SCALARS)
    assert whole["augment.elastic_fraction"] == 0.0
    assert scalars.pick_strengths(whole)["flip_prob"] == 0.5


def test_an_argument_may_be_on_whatever_it_is():
    assert not scalars.is_on(0.0)
    assert scalars.is_on(0.1)
    seen = []
    jax.jit(lambda x: seen.append(scalars.is_on(x)) or x)(0.0)
    assert seen == [True]


def test_programs_are_shared_by_what_differs_in_scalars_alone():
    first, same, off, wider = (unet.get_config() for _ in range(4))
    same.learning_rate, same.augment.gamma_fraction = 1e-4, 0.7
    off.augment.gamma_fraction = 0.0
    wider.widths = (32, 64)
    texts = [scalars.describe_program(c) for c in (first, same, off, wider)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
