"""Whether frames without masks help while training: a mean teacher, tried.

The averaged weights (the teacher) segment an unlabelled frame as it is; the net itself
(the student) sees the same frame augmented, and is drawn towards the teacher's outline,
moved with the frame (Tarvainen & Valpola 2017, arXiv:1703.01780). Half of each batch has
masks: 10 or 25 % of the training frames of label_efficiency.py, whose folds, steps and
test frames are used; the other half are the rest of its training frames without theirs.
It is compared with the same step in which the teacher has no weight.

    python benchmarks/mean_teacher.py --usgra=usgra-seg/dataset
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from label_efficiency import NUM_TRAIN_STEPS, SEEDS, deal_one
from nerve_unet import take_steps
from results import print_result
from trials import Scores, Table, compare, create_parser, load_scores, show, summarise

from configs import fast
from nerve_jax.commands import setup
from nerve_jax.data.batches import batch_positions
from nerve_jax.data.population import find_people
from nerve_jax.runs.config import set_fields
from nerve_jax.runs.folder import Fold
from nerve_jax.runs.score_table import write_scores
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.scores import Predicted, score_frames
from nerve_jax.system import devices
from nerve_jax.training.augment import make_augment
from nerve_jax.training.feed import ResidentFeed, Stream, make_keys, put_frames
from nerve_jax.training.losses import make_loss
from nerve_jax.training.scalars import fill_in
from nerve_jax.training.segmentation import Segmentation

SHARES = (0.1, 0.25)
WEIGHTS = {"alone": 0.0, "mean_teacher": 1.0}  # of the teacher
RISE_STEPS = 300  # over which the weight rises: at first the teacher knows nothing


@dataclass(frozen=True)
class MeanTeacher(Segmentation):
    """Segmentation of labelled frames at even places, of unlabelled ones at odd places.

    Attributes:
      weight: of the difference between student and teacher.
    """

    weight: float

    def loss(self, params, state, batch, keys):
        """The loss of each pair of frames; masks at odd places are not read."""
        sections = fill_in(self.sections, state.scalars)
        augment = make_augment(**sections["augment"])
        compute_loss = make_loss(**sections["loss"])
        teacher = self.apply(state.ema_params, batch.images[1::2]).logits
        masks = batch.masks.at[1::2].set(jax.nn.sigmoid(teacher))
        batch = augment(batch._replace(masks=masks), keys)
        outputs, masks = self.apply(params, batch.images), batch.masks
        own = jax.tree.map(lambda x: x[::2], (outputs, masks, batch.labelled))
        labelled = compute_loss(*own)
        error = jnp.square(jax.nn.sigmoid(outputs.logits[1::2]) - masks[1::2])
        weight = self.weight * jnp.minimum(state.step / RISE_STEPS, 1.0)
        # Errors lie where the nerve is, about a twentieth of a frame.
        return labelled + weight * error.mean((1, 2, 3)) / 0.05


class PairedFeed(ResidentFeed):
    """Pairs of a frame of `fold.train` and one of the rest of `fold.given`."""

    def open(self, folds: Sequence[Fold]) -> Stream:
        """The batches of one fold; rows are int32 [1 batch]."""
        (fold,) = folds
        rest = fold.given[~np.isin(fold.given, fold.train)]
        parts = ((fold.train, self.seed), (rest, self.seed + 100))

        def next_rows(step: int):
            rows = [
                part[
                    batch_positions(
                        step,
                        batch_size=self.batch_size // 2,
                        num_frames=len(part),
                        seed=seed,
                        fold=fold.number,
                    )
                ]
                for part, seed in parts
            ]
            # In pairs, so that all devices get equally many of both.
            return np.stack(rows, axis=-1).astype(np.int32).reshape(1, -1)

        return Stream(make_keys(folds, self.mesh, self.seed), next_rows)


def train(config, population, split, share: float, weight: float, seed: int):
    """Averaged parameters after training with a share of the masks."""
    examples, mesh = population.examples, devices.create_mesh()
    segmentation = setup.create_segmentation(config, population)
    task = MeanTeacher(**vars(segmentation), weight=weight)
    feed = PairedFeed(
        put_frames(examples.training_frames, mesh),
        examples.images.shape[1:],
        mesh,
        config.batch_size,
        seed,
    )
    engine = setup.create_engine(config, mesh, task.loss, feed)
    given, val = (examples.positions(split[part]) for part in ("train", "val"))
    fold = Fold(0, Path(), given, given[: round(share * len(given))], val)
    stream = feed.open([fold])
    states = engine.init(stream.keys)
    states = take_steps(engine, stream, states, 0, config.num_train_steps)
    return next(engine.split(states)).ema_params


def score(config, params, tests, path: Path) -> None:
    """Write the scores of the test frames, cut at 0.5."""
    everything = np.arange(len(tests))
    probs, presence = setup.create_predictor_of(config)([params], tests.images)
    scored = score_frames(
        tests,
        Predicted(everything, probs[:, 0], presence[:, 0]),
        [Rule(0.5)] * len(tests),
        threshold=0.5,
        groups=list(tests.subjects),
        doubtful=set(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scores(path, scored)


def create_config(usgra: str):
    """configs/fast.py on usgra-seg, with as many frames with masks a step as it has."""
    config = fast.get_config()
    return set_fields(
        config,
        {
            "data.name": "ultrasound_nerve/usgra",
            "data.manual_dir": usgra,
            "batch_size": 2 * config.batch_size,
            "num_train_steps": NUM_TRAIN_STEPS,
        },
    )


def main() -> None:
    """Train what the table lacks and compare."""
    options = create_parser(__doc__, "runs/mean_teacher").parse_args()
    flags.FLAGS([""])  # readers of array_record files want them parsed
    config = create_config(options.usgra)
    setup.prepare_devices(config)
    population = find_people(setup.load_frames(config, "train"))
    tests = setup.load_frames(config, "test")
    known = Table(options.table or options.output / "scores.csv", NUM_TRAIN_STEPS)
    splits = {seed: deal_one(options.usgra, seed) for seed in SEEDS}

    trainings = {
        f"{name}_{share:g}": (name, share) for share in SHARES for name in WEIGHTS
    }

    def measure(training: str, seed: int) -> Scores:
        name, share = trainings[training]
        weight = WEIGHTS[name]
        params = train(config, population, splits[seed], share, weight, seed)
        path = options.output / f"{training}_{seed}.csv"
        score(config, params, tests, path)
        return load_scores([path])

    scored, table = known.gather(trainings, SEEDS, measure), {}
    for share in SHARES:
        runs = {name: scored[f"{name}_{share:g}"] for name in WEIGHTS}
        gain = compare(runs["mean_teacher"], runs["alone"])
        row = {name: summarise(seeds) for name, seeds in runs.items()}
        table[f"{share:g}"] = row | {"gain": gain}
        alone, both = (show(row[name], ".3f") for name in WEIGHTS)
        print(f"| {share:.0%} | {alone} | {both} | {show(gain, '+.3f')} |", flush=True)
    print_result(steps=NUM_TRAIN_STEPS, commits=known.commits, table=table)


if __name__ == "__main__":
    main()
