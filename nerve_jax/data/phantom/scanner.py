"""The simulated scanner: echogenicity in decibels to a B-mode image.

Every pixel holds scatterers of random phase (a complex Gaussian, the limit of many
scatterers in one resolution cell); a point-spread function that is sharpest at the
focus blurs their echoes; the envelope is detected and log-compressed. The result is
fully developed speckle with Rayleigh amplitude statistics (Wagner et al. 1983, IEEE
Trans. Sonics Ultrason. 30:156), softened a little as a scanner's display does.
"""

import numpy as np
from scipy import ndimage

from nerve_jax.data.phantom.anatomy import HEIGHT_PX, WIDTH_PX, X_PX, Y_PX, sigmoid

NOISE_FLOOR_DB = -60.0
KNEE_DB = 4.3  # width over which echoes fade into the noise floor


class Scanner:
    """Settings of the machine and of the operator's hand for one scanner."""

    def __init__(self, rng: np.random.Generator):
        normal, uniform = rng.normal, rng.uniform
        self.gain_db = normal(-5, 3)
        self.dynamic_range_db = uniform(54, 66)
        self.attenuation_db = normal(9, 5)
        self.focus_px = uniform(0.3, 0.6) * HEIGHT_PX
        self.lateral_px = uniform(1.0, 1.5)
        self.contact = uniform(0, 1, 2)


class Sweep:
    """Slow movement of probe and tissue along one sweep, and the sweep's scatterers."""

    def __init__(self, rng: np.random.Generator):
        self.amplitude = rng.standard_normal((6, 2), dtype=np.float32)
        self.frequency = rng.uniform(0.15, 0.7, 6).astype(np.float32)
        shape = (2, 2, HEIGHT_PX, WIDTH_PX)
        real, imaginary = rng.standard_normal(shape, dtype=np.float32)
        self.scatterers = real + 1j * imaginary

    def motion(self, place: float) -> np.ndarray:
        """Six independent displacements of unit scale at `place` in [0, 1)."""
        phase = 2 * np.pi * self.frequency * place
        return self.amplitude[:, 0] * np.cos(phase) + self.amplitude[:, 1] * np.sin(
            phase
        )


def insonify(
    echo_db: np.ndarray,
    scanner: Scanner,
    sweep: Sweep,
    place: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Turn an echogenicity map in dB, [210, 290], into a B-mode image, uint8.

    The scatterers turn slowly from one set into another along the sweep, so that
    frames far apart have independent speckle and neighbours nearly the same.
    """
    turn = 2.6 * place
    field = np.cos(turn) * sweep.scatterers[0] + np.sin(turn) * sweep.scatterers[1]
    field *= 10 ** (echo_db / 20)
    echo = _point_spread(field, scanner.focus_px, scanner.lateral_px)
    level_db = 20 * np.log10(np.abs(echo) + 1e-6)
    depth = Y_PX / HEIGHT_PX
    level_db += scanner.gain_db - scanner.attenuation_db * (depth - 0.3)
    left, right = scanner.contact  # skin contact is lost at the edges of the probe
    level_db -= 14 * sigmoid((12 * left - X_PX) / 4)
    level_db -= 14 * sigmoid((X_PX - WIDTH_PX + 12 * right) / 4)
    noise = rng.standard_normal(echo.shape, dtype=np.float32) * 2
    level_db = np.logaddexp(level_db / KNEE_DB, (NOISE_FLOOR_DB + noise) / KNEE_DB)
    level_db = ndimage.gaussian_filter(
        level_db * KNEE_DB, (0.55, 0.75)
    )  # the display's
    shown = 1 + (level_db + 2) / scanner.dynamic_range_db
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def _point_spread(field: np.ndarray, focus_px: float, lateral_px: float) -> np.ndarray:
    """Blur echoes axially by one width, laterally by a width that grows off focus."""
    axial = _gaussian(field, 0.9, axis=0)
    narrow = _gaussian(axial, lateral_px, axis=1)
    wide = _gaussian(axial, 2.6 * lateral_px, axis=1)
    off_focus = np.clip(np.abs(Y_PX - focus_px) / HEIGHT_PX * 1.6, 0, 1)
    return (1 - off_focus) * narrow + off_focus * wide


def _gaussian(field: np.ndarray, sigma_px: float, axis: int) -> np.ndarray:
    """Convolve with a Gaussian that keeps the power of white noise."""
    real = ndimage.gaussian_filter1d(field.real, sigma_px, axis=axis, truncate=3)
    imaginary = ndimage.gaussian_filter1d(field.imag, sigma_px, axis=axis, truncate=3)
    return (real + 1j * imaginary) * np.sqrt(2 * np.sqrt(np.pi) * sigma_px)
