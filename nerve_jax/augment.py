"""Random changes of a training frame, inside the compiled step.

Shape (flip, rotation, scale, shift, elastic) moves image and mask by ONE bilinear
resampling, so that they cannot drift apart; look (gain, gamma, contrast, speckle,
shadow, attenuation) changes the image alone. Every strength at 0 leaves the frame as
it is. Each draw comes from the key of its own frame.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

Picture = Float[Array, "height width"]


def make_augment(
    *,
    flip_prob: float,
    rotation_degrees: float,
    scale_fraction: float,
    shift_fraction: float,
    elastic_fraction: float,
    elastic_cells: int,
    gain_fraction: float,
    gamma_fraction: float,
    contrast_fraction: float,
    speckle_fraction: float,
    shadow_prob: float,
    shadow_strength: float,
    attenuation_fraction: float,
):
    """Return `augment(images, masks, keys) -> (images, masks)`.

    Images and masks are float32 [batch height width 1] in [0, 1], keys [batch]; results
    are in [0, 1] too. What a resampling brings in from outside the frame is black and
    not nerve.

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
    """

    def augment_one(image: Picture, mask: Picture, key) -> tuple[Picture, Picture]:
        shape_key, look_key = jax.random.split(key)
        points = draw_points(
            shape_key,
            image.shape,
            flip_prob=flip_prob,
            rotation_degrees=rotation_degrees,
            scale_fraction=scale_fraction,
            shift_fraction=shift_fraction,
            elastic_fraction=elastic_fraction,
            elastic_cells=elastic_cells,
        )
        if points is not None:
            image, mask = resample(image, points), resample(mask, points)
        keys = jax.random.split(look_key, 6)
        image = _change_tone(
            image, keys[:3], gain_fraction, gamma_fraction, contrast_fraction
        )
        if speckle_fraction:
            noise = jax.random.normal(keys[3], image.shape)
            image = image * (1.0 + speckle_fraction * noise)
        if shadow_prob:
            image = image * _draw_shadow(
                keys[4], image.shape, shadow_prob, shadow_strength
            )
        if attenuation_fraction:
            slope = attenuation_fraction * _symmetric(keys[5])
            depth = jnp.linspace(0.0, 1.0, image.shape[0]).reshape(-1, 1)
            image = image * (1.0 + slope * depth)
        return jnp.clip(image, 0.0, 1.0), mask

    def augment(
        images: Float[Array, "batch height width 1"],
        masks: Float[Array, "batch height width 1"],
        keys,
    ) -> tuple[
        Float[Array, "batch height width 1"], Float[Array, "batch height width 1"]
    ]:
        moved = jax.vmap(augment_one)(images[..., 0], masks[..., 0], keys)
        return moved[0][..., None], moved[1][..., None]

    return augment


def draw_points(
    key,
    shape: tuple[int, int],
    *,
    flip_prob: float,
    rotation_degrees: float,
    scale_fraction: float,
    shift_fraction: float,
    elastic_fraction: float,
    elastic_cells: int,
) -> Float[Array, "2 height width"] | None:
    """Draw where each pixel of the new frame comes from, (y, x) in px.

    Returns None where every strength is 0: nothing moves.
    """
    affine = (flip_prob, rotation_degrees, scale_fraction, shift_fraction)
    if not any((*affine, elastic_fraction)):
        return None
    height, width = shape
    flip_key, turn_key, scale_key, shift_key, elastic_key = jax.random.split(key, 5)
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)
    grid = jnp.stack(
        jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    ).astype(jnp.float32)
    offset = grid - centre
    flip = jnp.where(jax.random.bernoulli(flip_key, flip_prob), -1.0, 1.0)
    angle = jnp.deg2rad(rotation_degrees) * _symmetric(turn_key)
    scale = (1.0 + scale_fraction) ** _symmetric(scale_key)
    sine, cosine = jnp.sin(angle) / scale, jnp.cos(angle) / scale
    y = cosine * offset[0] - sine * offset[1]
    x = flip * (sine * offset[0] + cosine * offset[1])
    extent = jnp.array([height, width], jnp.float32)
    shift = shift_fraction * extent * jax.random.uniform(shift_key, (2,), minval=-1.0)
    points = jnp.stack([y, x]) + centre + shift.reshape(2, 1, 1)
    if elastic_fraction:
        coarse = jax.random.normal(elastic_key, (2, elastic_cells, elastic_cells))
        smooth = jax.image.resize(coarse, (2, height, width), "cubic")
        points = points + elastic_fraction * height * smooth
    return points


def resample(picture: Picture, points: Float[Array, "2 height width"]) -> Picture:
    """Read a picture at `points` bilinearly; 0 outside it."""
    return map_coordinates(picture, list(points), order=1, mode="constant", cval=0.0)


def _change_tone(image: Picture, keys, gain, gamma, contrast) -> Picture:
    if gamma:
        power = (1.0 + gamma) ** _symmetric(keys[0])
        image = jnp.maximum(image, 1e-6) ** power
    if contrast:
        mean = image.mean()
        image = mean + (image - mean) * (1.0 + contrast) ** _symmetric(keys[1])
    if gain:
        image = image * (1.0 + gain) ** _symmetric(keys[2])
    return image


def _draw_shadow(key, shape, prob, strength) -> Picture:
    """Transmission through a band of poor contact or bone, in [1 - strength, 1]."""
    there_key, place_key, width_key, top_key, depth_key = jax.random.split(key, 5)
    y = jnp.linspace(0.0, 1.0, shape[0]).reshape(-1, 1)
    x = jnp.linspace(0.0, 1.0, shape[1]).reshape(1, -1)
    centre = jax.random.uniform(place_key)
    half_width = jax.random.uniform(width_key, minval=0.03, maxval=0.15)
    top = jax.random.uniform(top_key, minval=0.0, maxval=0.7)
    band = jax.nn.sigmoid((half_width - jnp.abs(x - centre)) * 60.0)
    below = jax.nn.sigmoid((y - top) * 40.0)
    there = jax.random.bernoulli(there_key, prob).astype(jnp.float32)
    return 1.0 - there * strength * jax.random.uniform(depth_key) * band * below


def _symmetric(key) -> Float[Array, ""]:
    return jax.random.uniform(key, minval=-1.0, maxval=1.0)
