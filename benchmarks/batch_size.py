"""What the rule for other batch sizes is worth: training.optimizer.rescale, or nothing.

Trains configs/fast.py on the phantom with batches of 8, 32 and 128 frames for equally many
epochs, with its own learning rate, weight decay and average of the parameters and with
those of the rule; seed k on fold k. Scores the fold's frames cut at 0.5; differences are
paired by frame. Steps are fixed, so other work may go on beside it; the same command goes
on where it was stopped.

    python benchmarks/batch_size.py
"""

import argparse
from pathlib import Path

from results import print_result
from trials import Scores, compare, show, summarise, train

from configs import fast
from nerve_jax.training.optimizer import rescale

BATCHES = (8, 32, 128)
SEEDS = (0,)
NUM_FRAMES = 13_440  # seen by each training: 23 epochs


def choose(batch: int, rule: bool) -> dict:
    """Fields of a training."""
    config = fast.get_config()
    steps = NUM_FRAMES // batch
    fields = {"batch_size": batch, "num_train_steps": steps, "eval_every_steps": steps}
    if rule:
        suits = (config.batch_size, config.num_train_steps)
        scaled = rescale(config.optimizer.to_dict(), suits, (batch, steps))
        fields |= {f"optimizer.{name}": round(v, 6) for name, v in scaled.items()}
    return fields


def measure(output: Path, batch: int, rule: bool, seed: int) -> Scores:
    """Scores of one training."""
    workdir = output / f"{batch}_{'rule' if rule else 'plain'}" / f"seed_{seed}"
    common = {"seed": seed, "folds": f"({seed},)", "decision.rule": "threshold"}
    return train(workdir, "fast", common | choose(batch, rule))


def main() -> None:
    """Train what is not there, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/batch_size"))
    options = parser.parse_args()
    scored = {
        (batch, rule): [measure(options.output, batch, rule, seed) for seed in SEEDS]
        for batch in BATCHES
        for rule in (False, True)
    }
    first = scored[BATCHES[0], False]
    rows = []
    for (batch, rule), scores in scored.items():
        own, against = summarise(scores), compare(scores, first)
        rows.append({"batch": batch, "rule": rule, "fields": choose(batch, rule)})
        rows[-1] |= {"dice": own, "against_the_first": against}
        name = "rule" if rule else "as it is"
        print(f"| {batch} | {name} | {show(own, '.3f')} | {show(against, '+.3f')} |")
    print_result(rows=rows)


if __name__ == "__main__":
    main()
