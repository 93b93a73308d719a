import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from nerve_jax.training.augment import DRAWS, locate_pixels, make_augment, resample
from nerve_jax.training.step import Batch

SHAPE = {
    "flip_prob": 0.5,
    "rotation_degrees": 20.0,
    "scale_fraction": 0.3,
    "shift_fraction": 0.1,
    "elastic_fraction": 0.02,
}
LOOK = {
    "gain_fraction": 0.3,
    "gamma_fraction": 0.3,
    "contrast_fraction": 0.3,
    "speckle_fraction": 0.2,
    "shadow_prob": 1.0,
    "shadow_strength": 0.9,
    "attenuation_fraction": 0.5,
}
OFF = {name: 0.0 for name in (*SHAPE, *LOOK)} | {"elastic_cells": 5}


@functools.cache
def augment_with(**options):
    return jax.jit(make_augment(**options))


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def disc(height=96, width=128, y=40.0, x=70.0, radius=14.0):
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - y, columns - x)
    return jnp.asarray(np.clip(radius - distance + 0.5, 0, 1), jnp.float32)


def batch_of(picture, count):
    return jnp.broadcast_to(picture[None, ..., None], (count, *picture.shape, 1))


def known(count, structures=1):
    return jnp.ones((count, structures), bool)


def apply(options, images, masks):
    batch = Batch(images, masks, known(len(images), masks.shape[-1]))
    return augment_with(**options)(batch, keys(len(images)))[:2]


def test_all_off_is_identity():
    images = jax.random.uniform(jax.random.key(3), (4, 24, 32, 1))
    masks = (images > 0.5).astype(jnp.float32)
    moved = apply(OFF, images, masks)
    np.testing.assert_array_equal(moved[0], images)
    np.testing.assert_array_equal(moved[1], masks)


@pytest.mark.parametrize("name", [*SHAPE, *LOOK])
def test_each_can_be_switched_on_alone(name):
    strength = (SHAPE | LOOK)[name]
    options = OFF | {name: strength}
    if name == "shadow_prob":
        options["shadow_strength"] = LOOK["shadow_strength"]
    if name == "shadow_strength":  # acts only where there is a shadow
        options["shadow_prob"] = 1.0
    images = 0.2 + 0.6 * jax.random.uniform(jax.random.key(3), (8, 24, 32, 1))
    masks = batch_of(disc(24, 32, 10.0, 16.0, 6.0), 8)
    new_images, new_masks = apply(options, images, masks)
    assert not np.allclose(new_images, images)
    assert np.array_equal(new_masks, masks) == (name in LOOK)
    assert new_images.min() >= 0 and new_images.max() <= 1
    assert new_masks.min() >= 0 and new_masks.max() <= 1


def test_image_and_mask_move_together_to_a_fraction_of_a_pixel():
    """The frame shows its own mask: afterwards it still must."""
    count = 16
    pictures = batch_of(disc(), count)
    images, masks = apply(OFF | SHAPE, pictures, pictures)
    np.testing.assert_allclose(images, masks, atol=1e-6)
    centres = [ndimage.center_of_mass(np.asarray(m[..., 0])) for m in masks]
    assert np.std(centres, axis=0).min() > 2  # they did move
    for image, mask in zip(images, masks, strict=True):
        ours = ndimage.center_of_mass(np.asarray(image[..., 0]))
        theirs = ndimage.center_of_mass(np.asarray(mask[..., 0]))
        np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_resampling_agrees_with_scipy():
    points = 40.0 * jax.random.uniform(jax.random.key(5), (2, 24, 32)) - 5.0
    image, *masks = jax.random.uniform(jax.random.key(6), (5, 24, 32))
    found, moved = resample(image, jnp.stack(masks, -1), points)
    moved = [found, *jnp.moveaxis(moved, -1, 0)]
    for ours, picture in zip(moved, [image, *masks], strict=True):
        theirs = ndimage.map_coordinates(
            np.asarray(picture),
            np.asarray(points),
            order=1,
            mode="grid-constant",  # fades to black across the border
        )
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_resampling_at_the_pixels_themselves_gives_8_bit_frames_back():
    greys = jnp.arange(256, dtype=jnp.float32).reshape(8, 32) / 255.0
    points = jnp.stack(jnp.meshgrid(jnp.arange(8.0), jnp.arange(32.0), indexing="ij"))
    image, masks = resample(greys, (1.0 - greys)[..., None], points)
    np.testing.assert_allclose(image, greys, atol=1e-7)
    np.testing.assert_allclose(masks[..., 0], 1.0 - greys, atol=1e-7)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ({"flip": -1.0}, lambda y, x: (y, 127 - x)),
        ({"shift_y": 0.5}, lambda y, x: (y + 0.05 * 96, x)),
        ({"shift_x": -1.0}, lambda y, x: (y, x - 0.1 * 128)),
        (
            {"scale": 1.0},
            lambda y, x: (47.5 + (y - 47.5) / 1.3, 63.5 + (x - 63.5) / 1.3),
        ),
        ({"turn": 0.0}, lambda y, x: (y, x)),
    ],
)
def test_each_number_moves_pixels_as_it_says(number, expected):
    draw = dict.fromkeys(DRAWS, jnp.float32(0.0)) | {"flip": jnp.float32(0.9)}
    draw |= {name: jnp.float32(value) for name, value in number.items()}
    options = SHAPE | {"elastic_fraction": 0.0, "elastic_cells": 5}
    points = locate_pixels(draw, jax.random.key(0), (96, 128), **options)
    y, x = np.mgrid[:96, :128]
    np.testing.assert_allclose(points, np.stack(expected(y, x)), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "kept"), [("rotation_degrees", 0.02), ("flip_prob", 1e-3)]
)
def test_turning_and_mirroring_keep_the_area(name, kept):
    pictures = batch_of(disc(y=48.0, x=64.0), 8)
    _, masks = apply(OFF | {name: SHAPE[name]}, pictures, pictures)
    np.testing.assert_allclose(masks.sum((1, 2, 3)), pictures.sum((1, 2, 3)), rtol=kept)


def test_scale_stays_in_its_range_both_ways():
    pictures = batch_of(disc(y=48.0, x=64.0), 64)
    _, masks = apply(OFF | {"scale_fraction": 0.3}, pictures, pictures)
    scale = np.sqrt(masks.sum((1, 2, 3)) / pictures.sum((1, 2, 3)))
    assert scale.min() == pytest.approx(1 / 1.3, abs=0.05)
    assert scale.max() == pytest.approx(1.3, abs=0.05)


def test_a_frame_depends_on_its_own_key_alone():
    augment = augment_with(**OFF | SHAPE | LOOK)
    pictures = batch_of(disc(), 4)
    batch = Batch(pictures, pictures, known(4))
    whole = augment(batch, keys(4))
    alone = augment(jax.tree.map(lambda x: x[2:3], batch), keys(4)[2:3])
    np.testing.assert_allclose(whole[0][2:3], alone[0], atol=1e-6)
    again = augment(batch, keys(4))
    np.testing.assert_array_equal(whole[0], again[0])
    assert not np.allclose(whole[0][0], whole[0][1])
