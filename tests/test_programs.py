import jax
import jax.numpy as jnp
import numpy as np

from configs import unet
from nerve_jax import parallel, programs, scalars
from nerve_jax.builders import create_builder
from nerve_jax.examples import load_examples
from nerve_jax.loading import load_examples_from
from nerve_jax.models import Outputs
from nerve_jax.segmentation import make_objective


def test_all_folds_run_through_one_compiled_program(
    write_folder, blob_frames, tmp_path
):
    """What the first fold compiled, the second one uses: nothing is compiled anew."""
    builder = create_builder(
        "ultrasound_nerve/folder",
        data_dir=str(tmp_path),
        manual_dir=str(write_folder(blob_frames(3, 4))),
    )
    config = unet.get_config()
    config.widths, config.image_size, config.batch_size = (8, 16), (24, 32), 4
    examples = load_examples(builder, "train", config.image_size)
    ready = programs.create_programs(
        config, parallel.create_mesh(), examples, make_objective
    )
    compiled = []

    def count(name, seconds, **details):
        if name.endswith("backend_compile_duration"):
            compiled.append(name)

    def train(fold):
        keys, numbers = ready.make_keys([fold]), ready.put_numbers(config)
        next_rows = ready.open_batches([fold], [np.arange(2 + fold, 10)])
        states = ready.init(keys)
        for step in range(2):
            rows = next_rows(step)[:, None]
            states, _ = ready.run_steps(states, rows, keys, numbers)
        params = ready.take(states, 0).ema_params
        ready.predict([params], examples.images[:3])

    jax.monitoring.register_event_duration_secs_listener(count)
    train(0)
    first = len(compiled)
    train(1)
    assert first > 0
    assert len(compiled) == first


def test_runs_that_share_programs_train_with_their_own_numbers(small_config):
    config, mesh = small_config(learning_rate=1e-3), parallel.create_mesh()
    other = small_config(learning_rate=3e-2)
    other.augment.gain_fraction = 0.5
    examples = load_examples_from(config, "train")

    def create(config):
        return programs.create_programs(config, mesh, examples, make_objective)

    def train(ready, config):
        keys, numbers = ready.make_keys([0]), ready.put_numbers(config)
        rows = ready.open_batches([0], [np.arange(12)])(0)[:, None]
        states, metrics = ready.run_steps(ready.init(keys), rows, keys, numbers)
        return jax.device_get((ready.take(states, 0).params, metrics["loss"]))

    shared = create(config)
    first, second = train(shared, config), train(shared, other)
    alone = train(create(other), other)
    for ours, theirs in zip(*map(jax.tree.leaves, (second, alone)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert first[1] != second[1]  # the loss sees the frames, brightened otherwise


def test_frames_are_mixed_where_the_configuration_says_so(small_config):
    config = small_config()
    images = jnp.linspace(0, 1, 8 * 24 * 32).reshape(8, 24, 32, 1)
    masks = (images > 0.5).astype(jnp.float32)
    keys = jax.random.split(jax.random.key(0), 8)
    seen = []

    def apply(params, images, dropout_keys):
        seen.append(images)
        return Outputs(images, images[:, 0, 0, 0], ())

    losses = [
        make_objective(config, apply, scalars.fill_in({"cutmix_prob": prob}))(
            None, images, masks, keys
        )
        for prob in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(seen[0], images)
    assert (np.asarray(seen[1]) != images).mean() > 0.1
    assert (losses[0] != losses[1]).any()
