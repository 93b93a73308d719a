"""Masks without a frame: how their names differ from those of frames."""

import os
import re
from pathlib import Path

from nerve_jax.data.listing import count_of, loosen
from nerve_jax.data.ultrasound_nerve.sources import SourceFile
from nerve_jax.system.files import show

PATTERNS_SHOWN = 4
SAMPLED = 20  # masks from which a pattern is guessed


def explain_orphans(
    orphans: list[str],
    mask_of: dict[str, SourceFile],
    image_of: dict[str, SourceFile],
    folder: Path,
) -> list[str]:
    """Problems of masks without a frame: patterns of their names, then those of none.

    Args:
      orphans: names of these masks.
      mask_of: all masks by name.
      image_of: all frames by name.
      folder: of the masks.
    """
    rest, explained = set(orphans), []
    loose = {loosen(name) for name in image_of}
    if spelt := sorted(name for name in rest if loosen(name) in loose):
        rest -= set(spelt)
        explained.append((spelt, "names differ in capitals, blanks or zeros"))
    while rest and len(explained) < PATTERNS_SHOWN:
        pattern, matched = _find_pattern(sorted(rest), image_of.keys())
        if len(matched) < 2 and len(rest) > 1:
            break
        if not matched:
            break
        rest -= set(matched)
        explained.append((matched, _describe_pattern(*pattern)))
    lines = [
        f"{folder}: {count_of(len(names), 'mask')} without an image of the same "
        f"name, e.g. {show(names[0])}: {text}. Give a mask the name of its frame"
        for names, text in explained
    ]
    if len(explained) > 1:
        lines.append(f"{folder}: a frame has one mask; unite several of one structure")
    return lines + [
        f"{mask_of[name]}: mask without an image; add its image, or take it away"
        for name in sorted(rest)
    ]


Pattern = tuple[str, str, str]  # "end in" or "begin with", of frames, of masks


def _find_pattern(masks: list[str], frames) -> tuple[Pattern, list[str]]:
    """The change of ends or beginnings that gives most masks the name of a frame."""
    step = max(1, len(masks) // SAMPLED)
    pairs = ((f, m) for m in masks[::step][:SAMPLED] for f in frames)
    patterns = {pattern for f, m in pairs for pattern in _compare_names(f, m)}
    best: tuple[Pattern, list[str]] = (("", "", ""), [])
    for pattern in sorted(patterns):
        matched = [m for m in masks if _rename(m, pattern) in frames]
        if len(matched) > len(best[1]):
            best = pattern, matched
    return best


def _compare_names(frame: str, mask: str) -> list[Pattern]:
    """How the ends or the beginnings of two names differ, if the rest is a number."""
    same = len(os.path.commonprefix([frame, mask]))
    ends = frame[same:], mask[same:]
    same = len(os.path.commonprefix([frame[::-1], mask[::-1]]))
    starts = frame[: len(frame) - same], mask[: len(mask) - same]
    found = []
    if frame[0] == mask[0] and _are_affixes(*ends):
        found.append(("end in", *ends))
    if frame[-1] == mask[-1] and _are_affixes(*(text[::-1] for text in starts)):
        found.append(("begin with", *starts))
    return found


def _are_affixes(of_frame: str, of_mask: str) -> bool:
    """Whether texts may be what a program adds to names: no digit where they begin."""
    one = not of_frame or not of_mask
    plain = not re.search(r"\d", of_frame + of_mask)
    return (one or plain) and not re.match(r"\d", of_frame + of_mask)


def _rename(mask: str, pattern: Pattern) -> str | None:
    """The name of the frame to which a pattern assigns a mask."""
    place, of_frame, of_mask = pattern
    if place == "end in":
        base = mask.removesuffix(of_mask)
        return base + of_frame if mask.endswith(of_mask) else None
    base = mask.removeprefix(of_mask)
    return of_frame + base if mask.startswith(of_mask) else None


def _describe_pattern(place: str, of_frame: str, of_mask: str) -> str:
    if of_frame and of_mask:
        return f"frames {place} {show(of_frame)}, masks {place} {show(of_mask)}"
    if of_frame:
        return f"frames {place} {show(of_frame)}, masks do not"
    return f"masks {place} {show(of_mask)}, frames do not"
