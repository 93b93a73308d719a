"""How many labelled frames a start is worth: from scratch, simulated frames, no masks.

Trains configs/fast.py on 10, 25 and 100 % of the labelled frames of usgra-seg (those of a
fold's training part, 163) from random weights, from a run on the phantom (--mode=train),
its encoder kept for a while or slowed down or not, and from one on the same 163 frames
without their masks (--mode=pretrain), and scores the set's 40 test frames at their own
size. Every run takes the same number of steps. Steps are fixed, so other work may go on
beside it; the same command goes on where it was stopped. The scores behind the table of docs/few_labels.md are kept:
--table=benchmarks/few_labels/label_efficiency.csv compares them again and trains only
what is not there.

    python benchmarks/label_efficiency.py --usgra=usgra-seg/dataset
"""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from mixed_frames import deal
from results import print_result
from trials import (
    Scores,
    Table,
    compare,
    create_parser,
    load_scores,
    run,
    show,
    summarise,
)

from nerve_jax.reports.plots import AMBER, BLUE, GREY, STYLE

SHARES = (0.1, 0.25, 1.0)
SEEDS = (0, 1)
STARTS = {  # the run that they begin from, and how
    "scratch": ("", {}),
    "phantom": ("phantom", {}),
    "phantom_frozen": (
        "phantom",
        {"start.take": "encoder", "start.encoder_frozen_steps": 300},
    ),
    "phantom_slowed": ("phantom", {"start.encoder_rate_factor": 0.1}),
    "pretrained": ("pretrained", {}),
}
DRAWN = {  # as what, and how
    "scratch": ("scratch", GREY),
    "phantom": ("phantom", AMBER),
    "pretrained": ("without masks", BLUE),
}
NUM_TRAIN_STEPS, NUM_SOURCE_STEPS = 1200, 3000


def deal_one(usgra: str, seed: int) -> dict[str, list[str]]:
    """The first of five folds; its training part in a random order."""
    split = deal(usgra, seed)[0]
    order = np.random.default_rng(seed).permutation(len(split["train"]))
    return {"train": [split["train"][i] for i in order], "val": split["val"]}


def write_split(workdir: Path, split: dict[str, list[str]], share: float) -> None:
    """Let a run train on a share of the training frames."""
    if not (workdir / "splits.json").exists():
        count = round(share * len(split["train"]))
        workdir.mkdir(parents=True, exist_ok=True)
        chosen = {"train": split["train"][:count], "val": split["val"]}
        (workdir / "splits.json").write_text(json.dumps([chosen]))


def train_source(output: Path, real: dict, split: dict, source: str, seed: int) -> Path:
    """The run that others begin from."""
    workdir = output / f"{source}_{seed}"
    steps = {"num_train_steps": NUM_SOURCE_STEPS, "eval_every_steps": NUM_SOURCE_STEPS}
    fields = steps | {"seed": seed}
    if source == "phantom":
        run(workdir, "fast", fields, done="report.json")
    else:
        write_split(workdir, split, 1.0)
        done = "fold_0/summary.json"
        run(workdir, "fast", real | fields, "--mode=pretrain", done=done)
    return workdir


def train_and_score(output, real: dict, splits: dict, start: str, share, seed: int):
    """Scores of the test frames after training on a share of the frames."""
    workdir = output / f"{start}_{share:g}" / f"seed_{seed}"
    write_split(workdir, splits[seed], share)
    steps = {"num_train_steps": NUM_TRAIN_STEPS, "eval_every_steps": NUM_TRAIN_STEPS}
    source, how = STARTS[start]
    fields = real | steps | {"seed": seed} | how
    if source:
        fields["start.workdir"] = train_source(output, real, splits[seed], source, seed)
    run(workdir, "fast", fields, done="report.json")
    mode = ("--mode=evaluate", "--split=test")
    run(workdir, "fast", real, *mode, done="evaluation.json")
    return load_scores([workdir / "evaluation.csv"])


def plot(path: Path, table: dict, counts: list[int]) -> None:
    """Test Dice against the number of labelled frames, one line per start."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for place, (start, (label, colour)) in enumerate(DRAWN.items()):
            rows = [table[f"{start}_{share:g}"] for share in SHARES]
            x = np.array(counts) * 1.04 ** (place - 1)
            dice = np.array([row["dice"]["dice"] for row in rows])
            ends = np.array([row["dice"]["interval"] for row in rows]).T
            axes.errorbar(
                x, dice, abs(ends - dice), color=colour, marker="o", ms=4, label=label
            )
        axes.set(xscale="log", xlabel="labelled frames", ylabel="test Dice")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, dpi=160)


def main() -> None:
    """Train what the table lacks, compare and plot."""
    options = create_parser(__doc__, "runs/label_efficiency").parse_args()
    flags.FLAGS([""])  # readers of array_record files want them parsed
    known = Table(options.table or options.output / "scores.csv", NUM_TRAIN_STEPS)
    real = {"data.name": "ultrasound_nerve/usgra", "data.manual_dir": options.usgra}
    splits = {seed: deal_one(options.usgra, seed) for seed in SEEDS}
    trainings = {
        f"{start}_{share:g}": (start, share) for share in SHARES for start in STARTS
    }

    def measure(name: str, seed: int) -> Scores:
        start, share = trainings[name]
        return train_and_score(options.output, real, splits, start, share, seed)

    scored, table = known.gather(trainings, SEEDS, measure), {}
    for name, (start, share) in trainings.items():
        gain = compare(scored[name], scored[f"scratch_{share:g}"])
        row = {"dice": summarise(scored[name]), "gain": gain}
        table[name] = row
        shown = f"{show(row['dice'], '.3f')} | {show(gain, '+.3f')}"
        print(f"| {start} | {share:.0%} | {shown} |")
    counts = [round(share * len(splits[0]["train"])) for share in SHARES]
    options.output.mkdir(parents=True, exist_ok=True)
    plot(options.output / "label_efficiency.png", table, counts)
    print_result(
        steps=NUM_TRAIN_STEPS,
        commits=known.commits,
        source_steps=NUM_SOURCE_STEPS,
        table=table,
    )


if __name__ == "__main__":
    main()
