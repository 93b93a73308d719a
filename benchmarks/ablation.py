"""What each augmentation is worth on real frames: left out one at a time, then added.

Trains configs/fast.py on usgra-seg, five folds dealt by the seed, seed k on fold k: with
all augmentations, without one, with those of shape or of look alone, without any, and
with frames mixed two by two (CutMix) or 200 simulated ones among the real. Scores the
fold's other frames at their own size, cut at 0.5; differences are paired by frame. Steps
are fixed, so other work may go on beside it; the same command goes on where it was
stopped.

    python benchmarks/ablation.py --usgra=usgra-seg/dataset
    python benchmarks/ablation.py --usgra=usgra-seg/dataset --add=flip,gamma

The second adds those that mattered, one at a time, to none. The scores behind the table
of docs/few_labels.md are kept: --table=benchmarks/few_labels/ablation.csv compares them
again and trains only what is not there.
"""

from pathlib import Path

import mixed_frames
from absl import flags
from results import print_result
from trials import Scores, Table, compare, create_parser, show, summarise, train

from configs import fast

# The field that switches each off; all are drawn independently.
AUGMENTATIONS = {
    "flip": "flip_prob",
    "rotation": "rotation_degrees",
    "scale": "scale_fraction",
    "shift": "shift_fraction",
    "elastic": "elastic_fraction",
    "gain": "gain_fraction",
    "gamma": "gamma_fraction",
    "contrast": "contrast_fraction",
    "speckle": "speckle_fraction",
    "shadow": "shadow_prob",
    "attenuation": "attenuation_fraction",
}
SHAPE = ("flip", "rotation", "scale", "shift", "elastic")  # the others are of look
ALONE = {f"only_{name}" for name in AUGMENTATIONS}  # compared with none, not all
SEEDS = (0, 1)
NUM_TRAIN_STEPS = 1200


def switch_off(names) -> dict:
    """Fields of the configuration without some augmentations."""
    return {f"augment.{AUGMENTATIONS[name]}": 0.0 for name in names}


def list_variants(added: list[str]) -> dict[str, dict]:
    """Fields to set of every variant, by name."""
    alone = {
        f"only_{name}": switch_off(other for other in AUGMENTATIONS if other != name)
        for name in added
    }
    return {
        "all": {},
        "none": switch_off(AUGMENTATIONS),
        **{f"without_{name}": switch_off([name]) for name in AUGMENTATIONS},
        "only_shape": switch_off(AUGMENTATIONS.keys() - set(SHAPE)),
        "only_look": switch_off(SHAPE),
        "with_cutmix": {"augment.cutmix_prob": 0.5},
        "with_phantom": {"data.name": "ultrasound_nerve/folder"},
        **alone,
    }


def train_variant(output: Path, name: str, fields: dict, usgra: str, seed: int):
    """Scores of a variant."""
    workdir = output / name / f"seed_{seed}"
    mixed = output.resolve() / "mixed_frames"
    if name == "with_phantom":
        mixed_frames.write_folder(mixed, usgra)
        mixed_frames.write_splits(workdir, mixed, usgra, seed=seed)
    common = {
        "data.name": "ultrasound_nerve/usgra",
        "data.manual_dir": mixed if name == "with_phantom" else usgra,
        "num_train_steps": NUM_TRAIN_STEPS,
        "eval_every_steps": NUM_TRAIN_STEPS,
        "seed": seed,
        "folds": f"({seed},)",
    }
    return train(workdir, "fast", common | fields)


def main() -> None:
    """Train what the table lacks and compare."""
    parser = create_parser(__doc__, "runs/ablation")
    parser.add_argument("--add", default="", help="augmentations to try alone")
    options = parser.parse_args()
    flags.FLAGS([""])  # readers of array_record files want them parsed
    known = Table(options.table or options.output / "scores.csv", NUM_TRAIN_STEPS)
    variants = list_variants([name for name in options.add.split(",") if name])

    def measure(name: str, seed: int) -> Scores:
        fields = variants[name]
        return train_variant(options.output, name, fields, options.usgra, seed)

    scored = known.gather(variants, SEEDS, measure)
    table = {name: {"dice": summarise(seeds)} for name, seeds in scored.items()}
    for name, row in table.items():
        base = "none" if name in ALONE else "all"
        line = f"| {name} | {show(row['dice'], '.3f')}"
        if name != base:
            row["against"] = base
            row["gain"] = compare(scored[name], scored[base])
            line += f" | {base} | {show(row['gain'], '+.3f')}"
        print(line + " |")
    strengths = fast.get_config().augment.to_dict()
    print_result(
        steps=NUM_TRAIN_STEPS,
        commits=known.commits,
        strengths=strengths,
        variants=table,
    )


if __name__ == "__main__":
    main()
