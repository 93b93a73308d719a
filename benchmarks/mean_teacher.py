"""Whether frames without masks help while training: a mean teacher, tried.

The averaged weights (the teacher) outline a frame without mask as it is; the net itself
(the student) sees the same frame moved and changed, and is drawn towards the teacher's
outline moved alike (Tarvainen & Valpola 2017, arXiv:1703.01780). Half of each batch has
masks: 10 or 25 % of the training frames of label_efficiency.py, whose folds, steps and
test frames are taken; the other half are the rest of its training frames without theirs.
It is compared with the same step in which the teacher counts nothing.

    PYTHONPATH=. python benchmarks/mean_teacher.py --usgra=usgra-seg/dataset
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from label_efficiency import NUM_TRAIN_STEPS, SEEDS, deal_one
from results import print_result
from trials import Scores, Table, compare, create_parser, load_scores, show, summarise

from configs import fast
from nerve_jax import parallel
from nerve_jax.augment import make_augment
from nerve_jax.batches import batch_positions
from nerve_jax.decide import Threshold
from nerve_jax.folds import create_fold_programs
from nerve_jax.loading import load_examples_from
from nerve_jax.losses import make_loss
from nerve_jax.programs import create_model_from, create_predictor
from nerve_jax.scores import Predicted, score_frames, write_scores
from nerve_jax.train import train_interval
from nerve_jax.train_step import (
    Frames,
    TrainState,
    create_optimizer,
    create_state,
    make_train_steps,
    move,
)

SHARES = (0.1, 0.25)
WEIGHTS = {"alone": 0.0, "mean_teacher": 1.0}  # of the teacher's word
RISE_STEPS = 300  # over which it begins to count, for at first it knows nothing


def make_step(config, apply, optimizer, weight: float):
    """A step whose batch has frames with masks at even places, without at odd ones."""
    loss = make_loss(config.loss, presence_weight=0.1, coarse_weight=0.0)
    augment = make_augment(**config.augment)

    def compute_loss(params, teacher, images, masks, keys, step):
        word = jax.nn.sigmoid(apply(teacher, images[1::2]).logits)
        masks = masks.at[1::2].set(jax.lax.stop_gradient(word))
        images, masks = augment(images, masks, keys)
        outputs = apply(params, images)
        known = loss(jax.tree.map(lambda x: x[::2], outputs), masks[::2]).mean()
        apart = jnp.square(jax.nn.sigmoid(outputs.logits[1::2]) - masks[1::2])
        rise = jnp.minimum(step.astype(jnp.float32) / RISE_STEPS, 1.0)
        # The mean over a frame is small where the nerve is; by its share it counts.
        return known + weight * rise * apart.mean() / 0.05

    def train_step(state: TrainState, batch: Frames, key):
        places = jnp.arange(len(batch.images))
        places += jax.lax.axis_index("batch") * len(places)
        step_key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(lambda place: jax.random.fold_in(step_key, place))(places)
        images, masks = (x.astype(jnp.float32)[..., None] / 255.0 for x in batch)
        value, gradient = jax.value_and_grad(compute_loss)(
            state.params, state.ema_params, images, masks, keys, state.step
        )
        value, gradient = jax.lax.pmean((value, gradient), "batch")
        metrics = {"loss": value, "grad_norm": optax.tree.norm(gradient)}
        return move(state, gradient, optimizer, config.ema_decay), metrics

    return train_step


def train(config, examples, split, share: float, weight: float, seed: int):
    """Averaged parameters after training with a share of the masks."""
    apply, init = create_model_from(config)
    optimizer = create_optimizer(
        learning_rate=config.learning_rate,
        num_train_steps=NUM_TRAIN_STEPS,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    mesh = parallel.create_mesh()
    step = make_step(config, apply, optimizer, weight)
    programs = create_fold_programs(
        lambda key: create_state(init(key), optimizer),
        make_train_steps(lambda numbers: step),
        mesh,
    )
    frames = Frames(examples.images, examples.masks)
    frames = parallel.put(frames, parallel.replicated(mesh))
    keys = jax.random.key(seed).reshape(1)
    keys = jax.device_put(keys, parallel.split_folds(mesh))
    known = examples.positions(split["train"])
    count = round(share * len(known))
    parts = [(known[:count], seed), (known[count:], seed + 100)]

    def run_steps(states, rows):
        rows = parallel.put(rows, parallel.split_rows(mesh))
        return programs.run(states, frames, rows, keys, {})

    def next_rows(step: int):
        rows = [
            part[
                batch_positions(
                    step,
                    batch_size=config.batch_size,
                    num_frames=len(part),
                    seed=part_seed,
                    fold=0,
                )
            ]
            for part, part_seed in parts
        ]
        # Pairs, so that every device has as many of either.
        return np.stack(rows, axis=-1).astype(np.int32).reshape(1, -1)

    done = train_interval(
        programs.init(keys),
        run_steps,
        next_rows,
        first_step=0,
        last_step=NUM_TRAIN_STEPS,
        totals=np.zeros((1, 2)),
        steps_per_call=1,
        on_step=lambda step, loss: None,
        must_stop=lambda: False,
    )
    return programs.take(done.states, 0).ema_params


def score(config, params, tests, path: Path) -> None:
    """Write the scores of the test frames, cut at 0.5."""
    everything = np.arange(len(tests))
    probs, presence = create_predictor(config)([params], tests.images)
    scored = score_frames(
        tests,
        Predicted(everything, probs.astype(np.float16), presence),
        [Threshold(0.5)] * len(tests),
        threshold=0.5,
        groups=list(tests.subjects),
        doubtful=set(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scores(path, scored)


def main() -> None:
    options = create_parser(__doc__, "runs/mean_teacher").parse_args()
    flags.FLAGS([""])  # readers of array_record files want them parsed
    config = fast.get_config()
    config.dataset, config.manual_dir = "ultrasound_nerve/usgra", options.usgra
    parallel.use_cpu_cores(config.batch_size, 1)
    parallel.keep_compiled_programs()
    examples, tests = (load_examples_from(config, s) for s in ("train", "test"))
    known = Table(options.table or options.output / "scores.csv", NUM_TRAIN_STEPS)
    splits = {seed: deal_one(options.usgra, seed) for seed in SEEDS}

    trainings = {
        f"{name}_{share:g}": (name, share) for share in SHARES for name in WEIGHTS
    }

    def measure(training: str, seed: int) -> Scores:
        name, share = trainings[training]
        weight = WEIGHTS[name]
        params = train(config, examples, splits[seed], share, weight, seed)
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
