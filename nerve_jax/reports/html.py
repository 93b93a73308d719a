"""Pages for people: one file each, with everything in it and nothing asked of a network."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from nerve_jax.data.listing import count_of
from nerve_jax.reports.pictures import outline

PICTURE_WIDTH_PX = 360


def render(template: str, **content) -> str:
    """Fill in a template of `templates/`; text is escaped, a missing name an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = show_number
    environment.filters["gain"] = show_gain
    environment.filters["count_of"] = count_of
    return environment.get_template(template).render(**content)


def show_number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals, a dash where there is none."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def show_interval(interval: Sequence[float], form: str = ".3f") -> str:
    """The ends of an interval, a dash where there is none."""
    low, high = interval
    return "–" if np.isnan(low) else f"{low:{form}} to {high:{form}}"


def show_gain(name: str, scores: dict) -> str:
    """A difference with its sign and, where it has one, its interval."""
    low, high = scores["intervals"].get(name, (np.nan, np.nan))
    interval = "no interval" if np.isnan(low) else f"{low:+.4f} to {high:+.4f}"
    return f"{scores[name]:+.4f} ({interval})"


def to_uri(content: bytes | str, kind: str) -> str:
    """A file's content as an address that needs no file."""
    content = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def plot_uri(svg: str) -> str:
    """A plot of `plots` as an address."""
    return to_uri(svg, "image/svg+xml")


def picture_uri(
    image: UInt8[np.ndarray, "height width"],
    **masks: Bool[np.ndarray, "height width"],
) -> str:
    """A frame with outlines of `truth` and `prediction`, brought to a common width."""
    height = max(1, round(image.shape[0] * PICTURE_WIDTH_PX / image.shape[1]))
    size = (PICTURE_WIDTH_PX, height)
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    drawn = {
        name: np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        for name, mask in masks.items()
    }
    buffer = io.BytesIO()
    picture = Image.fromarray(outline(small, 2, **drawn))
    picture.save(buffer, format="JPEG", quality=88, subsampling=0)
    return to_uri(buffer.getvalue(), "image/jpeg")
