import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.model.unet import Outputs
from nerve_jax.scoring import predictor
from nerve_jax.system import devices

SIZE = (24, 32)


def test_members_are_averaged_and_the_last_batch_is_filled_up():
    seen = []

    def predict_batch(params, images):
        seen.append(len(images))
        value = jnp.full(images.shape, params["level"])[:, None]
        return value, value.max((2, 3))

    images = np.zeros((5, *SIZE), np.uint8)
    members = [{"level": jnp.float32(0.2)}, {"level": jnp.float32(0.6)}]
    probs, presence = predictor.predict_probs(
        predict_batch, members, images, batch_size=4, flips=False
    )
    assert seen == [4] * 4
    assert probs.dtype == np.float16
    np.testing.assert_array_equal(probs, np.float16(0.4))
    np.testing.assert_allclose(presence, 0.4, rtol=1e-6)


def test_without_a_presence_head_the_surest_pixel_decides():
    def apply(params, images):
        return Outputs(images * 8.0 - 4.0, None, ())

    images = jnp.zeros((2, 4, 4), jnp.uint8).at[1, 2, 2].set(255)
    probs, presence = predictor.make_predict_batch(apply)({}, images)
    np.testing.assert_allclose(presence, probs.max((2, 3)))
    assert presence[0] < 0.02
    assert presence[1] > 0.98


def test_mirror_images_are_mirrored_back_and_averaged():
    """A model that sees nerve only left of the middle sees both halves by turns."""

    def predict_batch(params, images):
        seen = np.asarray(images, np.float32) / 255
        seen[..., SIZE[1] // 2 :] = 0
        return seen[:, None], seen.max((1, 2))[:, None]

    images = np.zeros((3, *SIZE), np.uint8)
    images[0, 5, 3] = images[1, 5, -3] = 255
    predicted = functools.partial(predictor.predict_probs, predict_batch, [{}], images)
    once = predicted(batch_size=2, flips=False)[0][:, 0]
    both, presence = (part[:, 0] for part in predicted(batch_size=2, flips=True))
    assert (once[0, 5, 3], once[1, 5, -3]) == (1, 0)
    assert (both[0, 5, 3], both[1, 5, -3]) == (0.5, 0.5)
    assert both.sum() == 1
    np.testing.assert_allclose(presence, [0.5, 0.5, 0])


def test_views_are_kept_in_order_and_any_of_them_average():
    """A member's frame, then its mirror image, then the next member's."""

    def predict_batch(params, images):
        seen = np.asarray(images, np.float32) / 255 * float(params["level"])
        seen[..., SIZE[1] // 2 :] = 0
        return seen[:, None], seen.max((1, 2))[:, None]

    images = np.zeros((3, *SIZE), np.uint8)
    images[:, 5, 3] = 255
    members = [{"level": jnp.float32(level)} for level in (0.25, 1.0)]
    predicted = functools.partial(
        predictor.predict_probs, predict_batch, members, images, batch_size=2
    )
    views = predicted(flips=True, reduce=predictor.keep)
    assert views.probs.dtype == np.float32
    np.testing.assert_allclose(views.probs[:, :, 0, 5, 3], [[0.25, 0, 1, 0]] * 3)
    for chosen, flips in (([0, 1, 2, 3], True), ([0, 2], False)):
        for ours, theirs in zip(
            predictor.average(views.choose(chosen)), predicted(flips=flips), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


class Later:
    """A result on a device; notes when it is fetched."""

    def __init__(self, array, note):
        self.array, self.note = array, note

    def __array__(self, dtype=None, copy=None):
        self.note()
        return self.array


def test_next_batches_are_on_their_way_while_one_is_used():
    events = []

    def predict_batch(params, images):
        number = len(events)
        events.append("sent")
        probs = np.full((len(images), 1, *SIZE), number, np.float32)
        fetched = functools.partial(events.append, "fetched")
        return Later(probs, fetched), probs[:, :, 0, 0]

    def use(rows, probs, presence):
        events.append("used")
        return rows, probs[:, :, 0, 0]

    rows, _ = predictor.predict_probs(
        predict_batch,
        [{}],
        np.zeros((7, *SIZE), np.uint8),
        batch_size=2,
        flips=False,
        use=use,
    )
    np.testing.assert_array_equal(rows, np.arange(7))
    ahead = predictor.BATCHES_AHEAD
    first = ["sent"] * (ahead + 1) + ["fetched", "used"]
    rest = ["sent", "fetched", "used"] * (3 - ahead) + ["fetched", "used"] * ahead
    assert events == first + rest


def apply_wide(params, images):
    """Logits from -20 to 20: probabilities that float16 holds, barely holds, and not."""
    grey = images[..., 0] * 40 - 20
    logits = grey + jnp.sin(grey * 1e3) / 10
    return Outputs(logits[..., None], logits[:, :1, 0], ())


@pytest.mark.parametrize(("members", "flips"), [(1, False), (1, True), (2, False)])
def test_what_comes_home_is_rounded_once_and_alike(members, flips, monkeypatch):
    """A single view as float16, half the bytes; the mean of several after adding up."""
    fetched, device_get = [], jax.device_get

    def spy(seen):
        fetched.extend(probs.dtype for probs, _ in seen)
        return device_get(seen)

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, *SIZE), np.uint8)
    options = {"batch_size": 4, "flips": flips}
    views = predictor.create_predictor(apply_wide, reduce=predictor.keep, **options)(
        [{}] * members, images
    )
    monkeypatch.setattr(jax, "device_get", spy)
    found = predictor.create_predictor(apply_wide, **options)([{}] * members, images)
    single = members == 1 and not flips
    assert set(fetched) == {np.dtype(np.float16 if single else np.float32)}
    mean = views.probs.mean(1, dtype=np.float32).astype(np.float16)
    np.testing.assert_array_equal(found[0], mean)
    np.testing.assert_array_equal(found[1], views.presence_probs.mean(1))


class Chip:
    def __init__(self, number, platform):
        self.id, self.platform, self.process_index = number, platform, 0


@pytest.mark.parametrize(
    ("platform", "num_devices", "num_processes", "num_frames", "expected"),
    [
        ("cpu", 1, 1, 10**6, 30),
        ("tpu", 1, 1, 10**6, 120),
        ("tpu", 1, 1, 120, 120),
        ("tpu", 1, 1, 119, 30),  # filling up a larger one would be wasted
        ("gpu", 8, 1, 10**6, 128),
        ("gpu", 8, 1, 10, 32),
        ("gpu", 4, 2, 127, 64),
        ("gpu", 4, 2, 126, 16),
        ("cpu", 4, 2, 10**6, 16),
    ],
)
def test_accelerators_predict_several_batches_as_one(
    platform, num_devices, num_processes, num_frames, expected
):
    chips = [Chip(number, platform) for number in range(num_devices)]
    mesh = devices.arrange(chips, 1)
    found = predictor.choose_batch_size(30, num_frames, mesh, num_processes)
    assert found == expected


def test_each_process_uses_what_it_has_predicted(monkeypatch):
    """The second of two processes: its rows alone, numbered among all frames."""
    used = []

    def share_out(function, count):
        return function(np.arange(count // 2, count))

    def use(rows, probs, presence):
        used.extend(rows)
        return probs[:, 0, 0]

    predict = predictor.create_predictor(apply_wide, batch_size=4, flips=False)
    images = np.full((6, *SIZE), 127, np.uint8)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(predictor.processes, "share_out", share_out)
    assert len(predict([{}], images, use)) == 3
    assert used == [3, 4, 5]
