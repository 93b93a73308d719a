"""An audit in a few lines."""

import numpy as np

from nerve_jax.data.listing import count_of
from nerve_jax.reports.audit import count_not_listed


def describe(content: dict) -> str:
    """Say in a few lines what an audit found."""
    count = {k: len(v) for k, v in content.items() if isinstance(v, list)}
    not_listed, within = count_not_listed(content), content["num_within_clips"]
    warned = "".join(f"warning: {text}\n" for text in content["implausible"])
    text = f"""\
{warned}{content["num_frames"]} frames of {content["num_subjects"]} subjects, \
{content["num_labelled"]} labelled
{count_of(content["num_exact_duplicates"], "pair")} of equal frames, \
{content["num_near_duplicates"]} of nearly equal ones; \
{content["num_across_subjects"]} of them across subjects{
        f"; {not_listed} are not listed" * bool(not_listed)
    }{f"; {within} more within clips, as expected" * bool(within)}
{count["shared_subjects"]} group(s) of subjects that share a view; each counts as one \
subject in the folds
{content["num_contradictions"]} of {content["num_compared"]} compared pairs contradict \
each other; the labels of {count["doubtful"]} frames are in doubt
frames unlike the rest of the set: {count["odd_sizes"]} in size, \
{count["odd_intensities"]} in intensity, {count["odd_masks"]} in their mask; \
warnings of the set as a whole: {count["implausible"]}"""
    if content["num_label_pairs"]:
        text += (
            f"\ntwo labels of one view agree with Dice {content['label_noise_dice']:.3f} "
            f"on average ({count_of(content['num_label_views'], 'view')}, "
            f"{count_of(content['num_label_pairs'], 'pair')}); a model that is always right would "
            f"have {content['perfect_model_dice']:.3f} with one of them"
        )
    for split, frames in content["in_other_splits"].items():
        if frames:
            text += f"\n{len(frames)} frames are of people who are in split {split} too"
    if content["one_frame_a_subject"]:
        text += (
            "\nnearly every frame counts as a subject of its own: if people recur, one "
            "may be on both sides of a fold and scores are optimistic"
        )
    return text


def list_structures(content: dict) -> list[dict]:
    """What an audit found of each structure, in numbers.

    Args:
      content: of audit.json.

    Returns:
      A row for each: `structure`, `num_labelled`, `num_present`, frames that show it,
      `is_rare`, whether most frames are not labelled for it, `num_compared`,
      `num_contradictions`, `num_doubtful`, `num_odd`, `label_noise_dice`.
    """
    first, *_ = content["structures"]
    return [
        {
            "structure": name,
            "num_labelled": own["num_labelled"],
            "num_present": sum(n for n, _ in own["presence_by_subject"].values()),
            "is_rare": own["num_labelled"] < content["num_frames"] / 2,
            "num_compared": own["num_compared"],
            "num_contradictions": own["num_contradictions"],
            "num_doubtful": len(own["doubtful"]),
            "num_odd": len(own["odd_masks"]),
            "label_noise_dice": own["label_noise_dice"],
        }
        for name, own in ({first: content} | content["by_structure"]).items()
    ]


def describe_structures(content: dict) -> list[str]:
    """A line for each structure of a set that has several; none where it has one."""
    if len(content["structures"]) == 1:
        return []
    return [_describe_structure(row, content) for row in list_structures(content)]


def _describe_structure(row: dict, content: dict) -> str:
    text = (
        f"{row['structure']}: {row['num_labelled']} of {content['num_frames']} frames "
        f"labelled for it{', most are not' * row['is_rare']}; {row['num_present']} "
        f"show it; {row['num_contradictions']} of {row['num_compared']} compared pairs "
        f"contradict each other, {count_of(row['num_doubtful'], 'label')} in "
        f"doubt, {count_of(row['num_odd'], 'mask')} unlike the rest"
    )
    if not np.isnan(row["label_noise_dice"]):
        text += (
            f"; two labels of one view agree with Dice {row['label_noise_dice']:.3f}"
        )
    return text
