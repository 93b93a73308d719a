import jax
import numpy as np

from configs import unet
from nerve_jax import parallel, programs
from nerve_jax.examples import create_builder, load_examples


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
    ready = programs.create_programs(config, parallel.create_mesh(), examples)
    compiled = []

    def count(name, seconds, **details):
        if name.endswith("backend_compile_duration"):
            compiled.append(name)

    def train(fold):
        keys = ready.make_keys([fold])
        next_rows = ready.open_batches([fold], [np.arange(2 + fold, 10)])
        states = ready.init(keys)
        for step in range(2):
            states, _ = ready.run_steps(states, next_rows(step)[:, None], keys)
        params = ready.take(states, 0).ema_params
        ready.predict([params], examples.images[:3])

    jax.monitoring.register_event_duration_secs_listener(count)
    train(0)
    first = len(compiled)
    train(1)
    assert first > 0
    assert len(compiled) == first
