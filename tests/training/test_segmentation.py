import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from nerve_jax.model.unet import Outputs
from nerve_jax.runs.folder import Fold
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.segmentation import Segmentation
from nerve_jax.training.step import Batch
from nerve_jax.training.task import Task
from tests.samples import bright_boxes, labels_of


def state_of(scalars):
    return TrainState(jnp.int32(0), {}, {}, (), scalars)


def test_frames_are_mixed_and_weighed_as_scalars_of_the_state_say(small_config):
    sections = small_config(**{"augment.cutmix_prob": 0.0}).to_dict()
    images = jnp.linspace(0, 1, 8 * 24 * 32).reshape(8, 24, 32, 1)
    masks = (images > 0.5).astype(jnp.float32)
    keys = jax.random.split(jax.random.key(0), 8)
    seen = []

    def apply(params, images, dropout_keys):
        seen.append(images)
        return Outputs(images, images[:, 0, 0], ())

    off = {n: 0.0 for n, v in sections["augment"].items() if isinstance(v, float)}
    sections["augment"] |= off
    task = Segmentation(apply, bright_boxes(), sections, 0.5, lambda fold, x: x)
    assert isinstance(task, Task)
    losses = [
        task.loss(
            {}, state_of(scalars), Batch(images, masks, jnp.ones((8, 1), bool)), keys
        )
        for scalars in (
            {},
            {"augment.cutmix_prob": jnp.float32(1)},
            {"loss.presence_weight": jnp.float32(9)},
        )
    ]
    np.testing.assert_array_equal(seen[0], images)
    assert (np.asarray(seen[1]) != images).mean() > 0.1
    assert (losses[0] != losses[1]).any()
    assert (losses[2] > losses[0]).all()


def test_validation_frames_are_counted_batch_by_batch_where_they_are_predicted(
    tmp_path,
):
    """Two processes each count the frames that they predict, and no other."""
    examples, val = bright_boxes(), np.array([3, 0, 5, 8])
    fold = Fold(0, tmp_path, val, val, val)
    task = Segmentation(lambda *_: None, examples, {}, 0.5, lambda fold, x: x)
    probs = (examples.masks[val] / 255).astype(np.float16)
    probs[1, :4] = 1
    counted = []

    def predict(members, images, use):
        assert len(images) == 4
        for rows in (np.array([0, 1]), np.array([2, 3])):
            own = probs[rows][:, None]
            counted.append(use(rows, own, own.max((2, 3))))
        return np.concatenate(counted)

    scores = task.score(predict, fold, 1, {})
    assert [len(counts) for counts in counted] == [2, 2]
    assert scores["dice"] == 0.75
    assert scores["num_frames"] == 4


def test_each_structure_is_scored_where_it_is_labelled_and_leaves_its_own_files(
    tmp_path,
):
    frames, val = bright_boxes(), np.array([3, 0, 5, 8])
    vessel = frames.masks[:, ::-1].copy()
    seen = np.arange(12) != 5
    both = {**frames.labels, "vessel": labels_of(vessel, seen)}
    examples = dataclasses.replace(frames, labels=both)
    fold = Fold(0, tmp_path, val, val, val)
    task = Segmentation(lambda *_: None, examples, {}, 0.5, lambda fold, x: x)
    probs = np.stack([frames.masks[val], vessel[val]], 1).astype(np.float16) / 255
    probs[2, 1], probs[3, 1] = 1, 0  # not labelled; missed

    def predict(members, images, use=None):
        presence = probs.max((2, 3)).astype(np.float32)
        return use(np.arange(4), probs, presence) if use else (probs, presence)

    scores = task.score(predict, fold, 1, {})
    assert (scores["dice"], scores["num_frames"]) == (1.0, 4)
    assert scores["vessel/dice"] == np.mean([1, 1, 0])
    assert scores["vessel/num_frames"] == 3
    left = task.export(predict, fold, {})
    np.testing.assert_array_equal(left["val_probs.npy"], probs[:, 0])
    np.testing.assert_array_equal(left["structures/vessel/val_probs.npy"], probs[:, 1])
    assert left["structures/vessel/val_presence.npy"].tolist() == [1, 0, 1, 0]
