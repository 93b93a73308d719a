"""Random changes of training frames, inside the compiled step.

Shape (flip, rotation, scale, shift, elastic) moves image and mask by ONE bilinear
resampling, so that they cannot drift apart; look (gain, gamma, contrast, speckle,
shadow, attenuation) changes the image alone. Every strength at 0 leaves the frame as
it is. CutMix pastes a rectangle of one frame over another (Yun et al. 2019,
arXiv:1905.04899), with masks cut as the images are (French et al. 2020,
arXiv:1906.01916). Each draw comes from the key of its own frame.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nerve_jax.system.errors import InputError
from nerve_jax.training.scalars import Scalar, is_on
from nerve_jax.training.step import Batch

Picture = Float[Array, "height width"]
Pictures = Float[Array, "height width structures"]


def make_augment(
    *,
    flip_prob: Scalar,
    rotation_degrees: Scalar,
    scale_fraction: Scalar,
    shift_fraction: Scalar,
    elastic_fraction: Scalar,
    elastic_cells: int,
    gain_fraction: Scalar,
    gamma_fraction: Scalar,
    contrast_fraction: Scalar,
    speckle_fraction: Scalar,
    shadow_prob: Scalar,
    shadow_strength: Scalar,
    attenuation_fraction: Scalar,
    cutmix_prob: Scalar = 0.0,
):
    """Return `augment(batch, keys) -> batch`.

    Images and masks stay in [0, 1]; keys are [batch]. What a resampling brings in from
    outside the frame is black and no structure.

    Args:
      flip_prob: chance of mirroring left to right.
      rotation_degrees: up to this much either way, about the centre.
      scale_fraction: size between 1 / (1 + s) and 1 + s.
      shift_fraction: up to this share of height and width.
      elastic_fraction: standard deviation of a smooth displacement, as a share of the
        frame's height.
      elastic_cells: how many cells of that displacement fit across the frame.
      gain_fraction: brightness times up to 1 + g or down to 1 / (1 + g).
      gamma_fraction: grey values to a power between 1 / (1 + g) and 1 + g.
      contrast_fraction: distance from the frame's mean, likewise.
      speckle_fraction: deviation of multiplicative noise.
      shadow_prob: chance of a dark band from the probe downwards.
      shadow_strength: how dark at most, in [0, 1].
      attenuation_fraction: loss or excess of brightness with depth, at the bottom.
      cutmix_prob: chance that a frame gets a rectangle of another; then frames must be
        even in number (see `mix_frames`).

    Raises:
      InputError: `cutmix_prob` is no probability.
    """
    if not isinstance(cutmix_prob, jax.Array) and not 0 <= cutmix_prob <= 1:
        raise InputError(f"cutmix_prob={cutmix_prob} is no probability")

    def augment_one(image: Picture, masks: Pictures, key):
        draw, elastic_key, speckle_key = _draw(key)
        points = locate_pixels(
            draw,
            elastic_key,
            image.shape,
            flip_prob=flip_prob,
            rotation_degrees=rotation_degrees,
            scale_fraction=scale_fraction,
            shift_fraction=shift_fraction,
            elastic_fraction=elastic_fraction,
            elastic_cells=elastic_cells,
        )
        if points is not None:
            image, masks = resample(image, masks, points)
        image = _change_tone(
            image, draw, gain_fraction, gamma_fraction, contrast_fraction
        )
        if is_on(speckle_fraction):
            noise = jax.random.normal(speckle_key, image.shape)
            image = image * (1.0 + speckle_fraction * noise)
        if is_on(shadow_prob):
            image = image * _cast_shadow(
                draw, image.shape, shadow_prob, shadow_strength
            )
        if is_on(attenuation_fraction):
            depth = jnp.linspace(0.0, 1.0, image.shape[0]).reshape(-1, 1)
            image = image * (1.0 + attenuation_fraction * draw["attenuation"] * depth)
        return jnp.clip(image, 0.0, 1.0), masks

    def augment(batch: Batch, keys) -> Batch:
        images, masks = jax.vmap(augment_one)(batch.images[..., 0], batch.masks, keys)
        batch = batch._replace(images=images[..., None], masks=masks)
        if is_on(cutmix_prob):
            mix_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
            batch = mix_frames(batch, mix_keys, cutmix_prob)
        return batch

    return augment


# For each a uniform number in [-1, 1) per frame; drawn together, they compile fast.
DRAWS = (
    *("flip", "turn", "scale", "shift_y", "shift_x"),
    *("gamma", "contrast", "gain", "attenuation"),
    *("shadow", "shadow_x", "shadow_width", "shadow_top", "shadow_depth"),
)


def _draw(key):
    """Return the numbers of `DRAWS` by name and two keys, for elastic and speckle."""
    numbers_key, elastic_key, speckle_key = jax.random.split(key, 3)
    numbers = jax.random.uniform(numbers_key, (len(DRAWS),), minval=-1.0)
    return dict(zip(DRAWS, numbers, strict=True)), elastic_key, speckle_key


def locate_pixels(
    draw: dict,
    elastic_key,
    shape: tuple[int, int],
    *,
    flip_prob: Scalar,
    rotation_degrees: Scalar,
    scale_fraction: Scalar,
    shift_fraction: Scalar,
    elastic_fraction: Scalar,
    elastic_cells: int,
) -> Float[Array, "2 height width"] | None:
    """Say where each pixel of the new frame comes from, (y, x) in px.

    Returns None where every strength is 0: nothing moves.
    """
    affine = (flip_prob, rotation_degrees, scale_fraction, shift_fraction)
    if not any(map(is_on, (*affine, elastic_fraction))):
        return None
    height, width = shape
    y, x = jnp.meshgrid(
        jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2,
        jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2,
        indexing="ij",
    )
    angle = jnp.deg2rad(rotation_degrees) * draw["turn"]
    scale = (1.0 + scale_fraction) ** draw["scale"]
    sine, cosine = jnp.sin(angle) / scale, jnp.cos(angle) / scale
    flip = jnp.where(_with_prob(flip_prob, draw["flip"]), -1.0, 1.0)
    points = jnp.stack(
        [
            cosine * y - sine * x + height * (0.5 + shift_fraction * draw["shift_y"]),
            flip * (sine * y + cosine * x)
            + width * (0.5 + shift_fraction * draw["shift_x"]),
        ]
    )
    if is_on(elastic_fraction):
        coarse = jax.random.normal(elastic_key, (2, elastic_cells, elastic_cells))
        smooth = jax.image.resize(coarse, (2, height, width), "cubic")
        points = points + elastic_fraction * height * smooth
    return points - 0.5


def resample(
    image: Picture, masks: Pictures, points: Float[Array, "2 height width"]
) -> tuple[Picture, Pictures]:
    """Read an image and its masks, in [0, 1], at `points` bilinearly; 0 outside them.

    One word holds a pixel of two of them, in 1 / 65535, so that each of the four pixels
    around a point is gathered once for both; grey values of 8 bits come out exactly.
    """
    height, width = image.shape
    parts = [image, *(masks[..., place] for place in range(masks.shape[-1]))]
    levels = [jnp.round(p * 65535.0).astype(jnp.uint32) for p in parts]
    # Points as far out as the black border, and further, read nothing but black.
    y = jnp.clip(points[0] + 1.0, 0.0, height + 1.0)
    x = jnp.clip(points[1] + 1.0, 0.0, width + 1.0)
    top = jnp.minimum(jnp.floor(y), float(height))
    left = jnp.minimum(jnp.floor(x), float(width))
    place = (top * (width + 2) + left).astype(jnp.int32)
    below, right = y - top, x - left

    def blend(corners):
        a, b, c, d = [corner.astype(jnp.float32) / 65535.0 for corner in corners]
        upper, lower = a + (b - a) * right, c + (d - c) * right
        return upper + (lower - upper) * below

    read = []
    for first in range(0, len(levels), 2):
        low, *high = levels[first : first + 2]
        words = jnp.pad(low | high[0] << 16 if high else low, 1).reshape(-1)
        words = [words[place + step] for step in (0, 1, width + 2, width + 3)]
        read.append(blend([word & 65535 for word in words]))
        if high:
            read.append(blend([word >> 16 for word in words]))
    return read[0], jnp.stack(read[1:], -1)


def _change_tone(image: Picture, draw: dict, gain, gamma, contrast) -> Picture:
    if is_on(gamma):
        image = jnp.maximum(image, 1e-6) ** ((1.0 + gamma) ** draw["gamma"])
    if is_on(contrast):
        mean = image.mean()
        image = mean + (image - mean) * (1.0 + contrast) ** draw["contrast"]
    if is_on(gain):
        image = image * (1.0 + gain) ** draw["gain"]
    return image


def _cast_shadow(draw: dict, shape, prob, strength) -> Picture:
    """Transmission through a band of poor contact or bone, in [1 - strength, 1]."""
    y = jnp.linspace(0.0, 1.0, shape[0]).reshape(-1, 1)
    x = jnp.linspace(0.0, 1.0, shape[1]).reshape(1, -1)
    centre = _between(0.0, 1.0, draw["shadow_x"])
    half_width = _between(0.03, 0.15, draw["shadow_width"])
    top = _between(0.0, 0.7, draw["shadow_top"])
    band = jax.nn.sigmoid((half_width - jnp.abs(x - centre)) * 60.0)
    below = jax.nn.sigmoid((y - top) * 40.0)
    depth = strength * _between(0.0, 1.0, draw["shadow_depth"])
    there = _with_prob(prob, draw["shadow"]).astype(jnp.float32)
    return 1.0 - there * depth * band * below


def _between(low: float, high: float, number):
    return low + (high - low) * (number + 1.0) / 2.0


def _with_prob(prob: Scalar, number):
    return number < 2.0 * prob - 1.0


def mix_frames(batch: Batch, keys, prob: Scalar) -> Batch:
    """Paste into each frame, with some probability, a rectangle of its neighbour.

    Neighbours are the frames at places 2 i and 2 i + 1, so that the same frames meet
    however many devices share out a batch. A frame with a rectangle is labelled for what
    both are labelled for.

    Args:
      batch: of at least two frames, an even number.
      keys: one per frame.
      prob: chance of a rectangle; its share of the frame is uniform in [0, 1), its
        centre anywhere, and what sticks out is cut off.
    """
    shape = batch.images.shape[1:3]
    inside = jax.vmap(lambda key: _draw_rectangle(key, shape, prob))(keys)[..., None]
    mixed = inside.any((1, 2))
    return Batch(
        jnp.where(inside, _swap(batch.images), batch.images),
        jnp.where(inside, _swap(batch.masks), batch.masks),
        batch.labelled & (_swap(batch.labelled) | ~mixed),
    )


def _swap(frames: Array) -> Array:
    """The neighbour of each frame."""
    pairs = frames.reshape(-1, 2, *frames.shape[1:])
    return pairs[:, ::-1].reshape(frames.shape)


def _draw_rectangle(key, shape: tuple[int, int], prob: Scalar):
    """Pixels of a random rectangle; none where no rectangle is drawn."""
    there, share, centre_y, centre_x = jax.random.uniform(key, (4,))
    half = jnp.sqrt(share) / 2.0
    y = (jnp.arange(shape[0], dtype=jnp.float32) + 0.5) / shape[0]
    x = (jnp.arange(shape[1], dtype=jnp.float32) + 0.5) / shape[1]
    rows, columns = jnp.abs(y - centre_y) < half, jnp.abs(x - centre_x) < half
    return rows.reshape(-1, 1) & columns.reshape(1, -1) & (there < prob)
