"""Anatomy of the simulated neck: a map of echogenicity in decibels.

Skin, fat, fascia, striated muscle, vessels, a transverse process, the plexus and things
that resemble it, each drawn with soft edges onto one float32 map [210, 290]. `motion`
is a float32 [6] vector of displacements, about unit scale, that all parts share.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import ndimage

HEIGHT_PX, WIDTH_PX = 210, 290  # half of the Kaggle frames in each direction
SPACING_MM = (0.19, 0.19)
SHOWN_SHARE = 0.5  # of a vessel that is not covered, at least, for it to be outlined

Y_PX, X_PX = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)


Vessel = tuple[Real, Real, Real, Real]  # x, y, radius in px, and flattening


class Anatomy:
    """What one person is made of: places in px, levels in dB, angles in radians."""

    def __init__(self, rng: np.random.Generator):
        normal, uniform = rng.normal, rng.uniform
        self.depths = np.cumsum([uniform(5, 9), uniform(14, 30), uniform(26, 48)])
        self.depths = np.append(self.depths, self.depths[-1] + uniform(48, 75))
        self.tilts = normal(0, 0.06, 4)
        self.waves = uniform(0, 2 * np.pi, (4, 2))
        self.wave_px = uniform(0.5, 5, (4, 2))
        self.muscle_db = normal(-27, 2.5, 3)
        self.muscle_angle = normal(0, 0.3, 3)
        self.striation_db = uniform(7, 15, 3)
        self.striation_px = uniform(5, 10, 3)
        self.texture = _smooth_noise(rng, (3, HEIGHT_PX, WIDTH_PX), (0, 3, 14))
        self.fat_db = normal(-17, 2)
        # the plexus: an upright chain of fascicles
        self.nerve_xy = np.array([normal(0.59, 0.075), normal(0.334, 0.06)])
        self.nerve_xy *= (WIDTH_PX, HEIGHT_PX)
        self.nerve_area = 0.0300 * HEIGHT_PX * WIDTH_PX * np.exp(normal(0, 0.17))
        self.nerve_aspect = float(np.exp(normal(0.47, 0.13)))
        self.nerve_angle = normal(0.4, 0.28) * rng.choice([1, -1], p=[0.75, 0.25])
        self.num_fascicles = rng.integers(3, 6)
        self.fascicle_jitter = normal(0, 0.12, (5, 3))
        self.nerve_shape = normal(0, 0.035, (3, 2))
        self.nerve_contrast = uniform(0.75, 1.0)
        self.vessels = _place_vessels(rng, self.nerve_xy)
        self.lookalikes = _place_lookalikes(rng, self.nerve_xy)
        self.bone = (uniform(0.1, 0.9) * WIDTH_PX, uniform(0.68, 0.9) * HEIGHT_PX)
        self.bone_radius = uniform(20, 48)
        self.bone_phase = uniform(0, 2 * np.pi)
        self.has_bone = uniform() < 0.6
        for name, value in vars(self).items():  # float32 throughout: twice as fast
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                setattr(self, name, value.astype(np.float32))


class Drawn(NamedTuple):
    """The neck at one moment of a sweep.

    Attributes:
      echo_db: echogenicity in dB, float32 [210, 290].
      pose: of the plexus (x, y, area, angle), for `nerve_radius`.
      vessels: those that show, for `vessel_radius`.
      cover: bool [210, 290], where the plexus or the shadow of a bone hides vessels.
    """

    echo_db: np.ndarray
    pose: dict
    vessels: list[Vessel]
    cover: np.ndarray


def draw_echogenicity(
    anatomy: Anatomy, motion: np.ndarray, place: float, visibility: float
) -> Drawn:
    """Draw the whole neck at one moment of a sweep.

    Args:
      anatomy: whose neck.
      motion: float32 [6], displacement of tissue and probe.
      place: time along the sweep, in [0, 1).
      visibility: how well the plexus shows, in [0, 1]; at 0 it is not there.
    """
    echo_db = _draw_tissue(anatomy, motion)
    for lookalike in anatomy.lookalikes:
        _draw_lookalike(echo_db, lookalike, motion, place)
    vessels = _locate_vessels(anatomy, motion)
    for vessel in vessels:
        _draw_vessel(echo_db, *vessel)
    pose = {
        "x": float(anatomy.nerve_xy[0] + 9 * motion[2]),
        "y": float(anatomy.nerve_xy[1] + 5 * motion[1]),
        "area": float(anatomy.nerve_area * np.exp(0.09 * motion[4])),
        "angle": float(anatomy.nerve_angle + 0.08 * motion[5]),
    }
    cover = _draw_nerve(echo_db, anatomy, pose, visibility) > 0.5
    if anatomy.has_bone:
        cover |= _draw_bone(echo_db, anatomy, motion) > 0.5
    shown = [vessel for vessel in vessels if _is_shown(vessel, cover)]
    return Drawn(echo_db, pose, shown, cover)


def _locate_vessels(anatomy: Anatomy, motion: np.ndarray) -> list[Vessel]:
    """Where the vessels are at one moment."""
    return [
        (
            x + 5 * motion[0],
            y + 3 * motion[1],
            radius,
            max(flattening * (1 + 0.08 * motion[3]), 0.2),
        )
        for x, y, radius, flattening in anatomy.vessels
    ]


def vessel_radius(x: Real, y: Real, radius: Real, flattening: Real) -> np.ndarray:
    """Relative distance of every pixel from a vessel's centre: 1 on its wall."""
    return np.hypot((X_PX - x) / radius, (Y_PX - y) / (radius * flattening))


def _is_shown(vessel: Vessel, cover: np.ndarray) -> bool:
    """Whether enough of a vessel is in the frame and not covered."""
    _, _, radius, flattening = vessel
    shown = (vessel_radius(*vessel) < 1) & ~cover
    return bool(shown.sum() >= SHOWN_SHARE * np.pi * radius**2 * flattening)


def nerve_radius(
    aspect: float, shape: np.ndarray, pose: dict
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (radius, along, across) of every pixel in the nerve's own frame.

    `radius` is relative: 1 on the nerve's outline, an ellipse of the given aspect with
    three Fourier terms `shape` [3, 2] on top. `along` and `across` are px from its
    centre. All float32 [210, 290].
    """
    along, across = _rotate(pose["x"], pose["y"], pose["angle"])
    half_length = np.sqrt(pose["area"] / np.pi * aspect)
    position = along + 1j * across * aspect
    distance = np.abs(position)
    direction = position / np.maximum(distance, 1e-3)
    wobble, turns = 1, direction
    for cosine, sine in shape:
        turns = turns * direction
        wobble = wobble + cosine * turns.real + sine * turns.imag
    return distance / half_length / wobble, along, across


def _rotate(x, y, angle) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (along, across) about (x, y), `angle` away from the vertical."""
    dx, dy = X_PX - x, Y_PX - y
    sine, cosine = np.sin(angle), np.cos(angle)
    return dy * cosine + dx * sine, dx * cosine - dy * sine


def _place_vessels(rng, nerve_xy) -> list[tuple[float, float, float, float]]:
    """Carotid, jugular and small arteries as (x, y, radius, flattening)."""
    side = rng.choice([-1, 1], p=[0.8, 0.2])
    x, y = nerve_xy
    carotid = (x + side * rng.uniform(70, 120), y + rng.normal(22, 12))
    jugular = (carotid[0] + side * rng.normal(5, 22), carotid[1] - rng.uniform(18, 34))
    vessels = [
        (*carotid, rng.uniform(13, 19), rng.uniform(0.85, 1.0)),
        (*jugular, rng.uniform(12, 22), rng.uniform(0.35, 0.8)),
    ]
    for _ in range(rng.integers(0, 3)):
        place = (x + rng.normal(0, 45), y + rng.normal(10, 30))
        vessels.append((*place, rng.uniform(3.5, 7), rng.uniform(0.8, 1.0)))
    return vessels


def _place_lookalikes(rng, nerve_xy) -> list[dict]:
    """Lymph nodes, muscle bellies and clusters of veins: nerve-like, not nerve."""
    lookalikes = []
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, 2 * np.pi)
        distance = rng.uniform(42, 85)
        lookalikes.append(
            {
                "kind": rng.choice(["node", "belly", "cluster"]),
                "x": nerve_xy[0] + distance * np.cos(angle) * 1.2,
                "y": nerve_xy[1] + abs(distance * np.sin(angle)) * 0.8,
                "radius": rng.uniform(11, 21),
                "aspect": rng.uniform(1.2, 1.9),
                "angle": rng.normal(0.2, 0.6),
                "phase": rng.uniform(0, 2 * np.pi),
                "seen": rng.uniform(-0.6, 0.8),
            }
        )
    return lookalikes


def _draw_tissue(anatomy: Anatomy, motion: np.ndarray) -> np.ndarray:
    """Skin, fat, fascia and three muscles: echogenicity in dB, [210, 290]."""
    depth = []
    for layer in range(4):
        wave = sum(
            height * np.sin(X_PX[0] / WIDTH_PX * 2 * np.pi * (k + 1) + phase)
            for k, (height, phase) in enumerate(
                zip(anatomy.wave_px[layer], anatomy.waves[layer], strict=True)
            )
        )
        tilt = (anatomy.tilts[layer] + 0.02 * motion[5]) * (X_PX[0] - WIDTH_PX / 2)
        pressure = 1 + 0.04 * motion[3] * (layer > 0)
        depth.append(anatomy.depths[layer] * pressure + wave + tilt)
    shift_x, shift_y = 5 * motion[0], 3 * motion[1]
    rows = np.clip(Y_PX[:, 0] + shift_y, 0, HEIGHT_PX - 1).astype(int)
    columns = np.clip(X_PX[0] + shift_x, 0, WIDTH_PX - 1).astype(int)
    echo_db = np.full((HEIGHT_PX, WIDTH_PX), anatomy.fat_db, np.float32)
    echo_db += 5 * anatomy.texture[0][rows][:, columns]
    for muscle in range(3):
        angle = anatomy.muscle_angle[muscle]
        across = Y_PX * np.cos(angle) + X_PX * np.sin(angle) + shift_y
        texture = anatomy.texture[muscle][rows][:, columns]
        phase = across / anatomy.striation_px[muscle] * 2 * np.pi + 4 * texture
        striation = np.maximum(np.sin(phase), 0) ** 4 * (0.6 + 0.5 * texture)
        fibres = anatomy.muscle_db[muscle] + anatomy.striation_db[muscle] * striation
        inside = sigmoid(Y_PX - depth[muscle + 1])
        echo_db += inside * (fibres - echo_db)
    for layer, line in enumerate(depth):
        slope = np.gradient(line)
        specular = np.exp(-((slope / 0.25) ** 2)) * (0.75 + 0.25 * np.sin(X_PX[0] / 23))
        thickness = 1.0 + 0.4 * (layer % 2)
        ridge = np.exp(-(((Y_PX - line) / thickness) ** 2))
        echo_db += ridge * specular * (20 if layer else 12)
    echo_db[Y_PX < depth[0]] += 9
    return echo_db


def _draw_nerve(echo_db, anatomy, pose, visibility) -> np.ndarray:
    """Draw dark fascicles in bright connective tissue and sheath, in place.

    Returns:
      How much of each pixel the plexus covers, 0 to 1.
    """
    radius, u, v = nerve_radius(anatomy.nerve_aspect, anatomy.nerve_shape, pose)
    strength = np.sqrt(visibility) * anatomy.nerve_contrast
    inside = sigmoid((1 - radius) * 12) * strength
    bright = -10.0 + 0 * radius
    half_length = np.sqrt(pose["area"] / np.pi * anatomy.nerve_aspect)
    half_width = half_length / anatomy.nerve_aspect
    count = anatomy.num_fascicles
    for k, (along, across, size) in enumerate(anatomy.fascicle_jitter[:count]):
        centre = (k + 0.5) / count * 2 - 1
        fascicle = min(0.62 * half_width, 0.95 * half_length / count) * (1 + size)
        distance = np.hypot(
            u - 0.86 * half_length * (centre + 0.5 * along),
            v - 0.9 * half_width * across * 2,
        )
        bright += sigmoid((fascicle - distance) * 1.2) * (-30.0 - bright)
    echo_db += inside * (bright - echo_db)
    sheath = np.exp(-(((radius - 1) * 11) ** 2)) * strength
    echo_db += sheath * np.maximum(-4.0 - echo_db, 0)
    return inside


def _draw_vessel(echo_db, x, y, radius, flattening) -> None:
    """Draw a vessel in place: no echo inside, bright wall, enhancement behind."""
    relative = vessel_radius(x, y, radius, flattening)
    behind = (Y_PX > y) & (np.abs(X_PX - x) < radius * 0.9)
    fade = np.exp(-np.maximum(Y_PX - y, 0) / 45)
    echo_db += ndimage.gaussian_filter1d(
        np.where(behind, 7 * fade, 0).astype(np.float32), 1.5, axis=1
    )
    echo_db += np.exp(-(((relative - 1.08) * radius / 1.5) ** 2)) * np.maximum(
        -8 - echo_db, 0
    )
    echo_db += sigmoid((1 - relative) * radius) * (-46 - echo_db)


def _draw_lookalike(echo_db, item, motion, place) -> None:
    """Draw something that resembles a nerve in part but is none, in place."""
    seen = sigmoid(4 * (np.sin(2.2 * place + item["phase"]) + item["seen"]))
    x, y = item["x"] + 6 * motion[0], item["y"] + 4 * motion[1]
    along, across = _rotate(x, y, item["angle"])
    radius = item["radius"]
    relative = np.hypot(along / item["aspect"], across) / radius
    inside = sigmoid((1 - relative) * 10) * seen
    if item["kind"] == "node":  # dark cortex, bright hilum
        fill = -30 + 18 * np.exp(-((relative / 0.35) ** 2))
    elif item["kind"] == "belly":  # a small muscle in its fascia
        fill = -25 + 6 * np.maximum(np.sin(along / 2.5), 0) ** 3
    else:  # a bundle of small veins
        fill = np.full_like(relative, -18)
        for k in (-1, 0, 1):
            vein = np.hypot(along - k * 0.8 * radius, across - 0.25 * k * radius)
            fill += sigmoid((0.38 * radius - vein) * 1.5) * (-44 - fill)
    echo_db += inside * (fill - echo_db)
    rim = np.exp(-(((relative - 1) * 10) ** 2)) * seen * 0.8
    echo_db += rim * np.maximum(-7 - echo_db, 0)


def _draw_bone(echo_db, anatomy, motion) -> np.ndarray:
    """Draw the bright cortex of a transverse process and its shadow, in place.

    Returns:
      How much of each pixel the shadow covers, 0 to 1.
    """
    x = anatomy.bone[0] + 6 * motion[0]
    y = anatomy.bone[1] + 4 * motion[3]
    dx = (X_PX[0] - x) / anatomy.bone_radius
    rough = 2.5 * np.sin(3 * dx + anatomy.bone_phase) + np.sin(8 * dx)
    surface = y + anatomy.bone_radius * 0.35 * np.abs(dx) ** 2.5 + rough
    across = np.exp(-(dx**4))
    echo_db += np.exp(-(((Y_PX - surface) / 1.7) ** 2)) * across * (4 - echo_db)
    below = Y_PX - surface - 3
    shadow = sigmoid(below * 0.8) * across
    reverberation = -50 + 9 * np.exp(-(((below - 22) / 6) ** 2))
    echo_db += shadow * (reverberation - echo_db) * 0.9
    return shadow


def _smooth_noise(rng, shape, sigma) -> np.ndarray:
    """Gaussian noise blurred by `sigma` per axis and scaled to unit deviation."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, sigma)
    return noise / noise.std()


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
