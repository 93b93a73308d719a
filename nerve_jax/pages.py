"""Pages for people: one file each, with everything in it and nothing asked of a network."""

import base64
import io
from collections import Counter
from pathlib import Path

import jinja2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from nerve_jax.examples import Examples
from nerve_jax.frames import outline

PICTURE_WIDTH_PX = 360
PAIRS_SHOWN = 12  # of a kind, on the audit's page


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
    return environment.get_template(template).render(**content)


def show_number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals, a dash where there is none."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


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


def render_audit(content: dict, examples: Examples) -> str:
    """The page of an audit: its findings with the frames side by side."""
    return render(
        "audit.html",
        title=f"Audit of {examples.fingerprint}",
        audit=content,
        pictures=picture_findings(content, examples, PAIRS_SHOWN),
    )


def picture_findings(content: dict, examples: Examples, count: int) -> dict:
    """Pictures of what an audit found, at most `count` of a kind.

    Returns:
      `contradictions`, `across` (pairs of different subjects), `exact` and `near`: pairs
      with two `pictures`; `odd`: frames with their reasons and a `picture`; `counts`:
      how many there are of each.
    """
    exact, near = content["exact_duplicates"], content["near_duplicates"]
    kinds = {
        "contradictions": sorted(content["contradictions"], key=_most_alike),
        "across": sorted(list_across(content), key=_most_alike),
        "exact": exact,
        "near": sorted(near, key=lambda pair: pair["similarity"]),
    }
    odd = content["odd_masks"] + content["odd_sizes"] + content["odd_intensities"]
    where = {frame: i for i, frame in enumerate(examples.frames)}

    def picture(frame: str) -> str:
        place = where[frame]
        return picture_uri(examples.original(place), truth=examples.truth(place))

    return {
        **{
            kind: [
                pair | {"pictures": [picture(f) for f in pair["frames"]]}
                for pair in pairs[:count]
            ]
            for kind, pairs in kinds.items()
        },
        "odd": [
            entry | {"picture": picture(entry["frame"])}
            for entry in _one_a_subject_first(odd, where, examples)[:count]
        ],
        "counts": {kind: len(pairs) for kind, pairs in kinds.items()}
        | {"odd": len(odd)},
    }


def list_across(content: dict) -> list[dict]:
    """Of the pairs that an audit found, equal ones first, those of two subjects."""
    pairs = content["exact_duplicates"] + content["near_duplicates"]
    return [pair for pair in pairs if len(set(pair["subjects"])) > 1]


def _one_a_subject_first(entries, where, examples) -> list[dict]:
    """Entries in such order that subjects take turns."""
    turns: Counter = Counter()
    ranked = []
    for entry in entries:
        subject = examples.subjects[where[entry["frame"]]]
        ranked.append((turns[subject], entry))
        turns[subject] += 1
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _most_alike(pair: dict) -> float:
    return -pair["similarity"]
