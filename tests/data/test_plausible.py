import dataclasses

import numpy as np
import pytest

from nerve_jax.data.plausible import find_implausible, measure_fit
from nerve_jax.data.resize import resize_image
from tests.samples import labels_of, make_examples, relabel, texture


def people(count=12, each=2, size=(48, 64)):
    """Speckle with a dark oval, elsewhere in each person; a mask that fits it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    images, masks, subjects = [], [], []
    for person in range(count):
        for index in range(each):
            centre = rng.uniform(0.25, 0.75, 2) * size
            mask = np.hypot(y - centre[0], (x - centre[1]) / 1.4) < 7
            grey = texture(100 * person + index, size)
            images.append(np.where(mask, grey // 2, grey).astype(np.uint8))
            masks.append(mask.astype(np.uint8) * 255)
            subjects.append(f"p{person}")
    examples = make_examples(np.array(images), np.array(masks))
    thumbnails = np.stack([resize_image(image, (48, 64)) for image in images])
    return dataclasses.replace(
        examples, thumbnails=thumbnails, subjects=tuple(subjects)
    )


def test_nothing_is_said_of_frames_with_their_own_masks():
    examples = people()
    assert find_implausible(examples) == []
    assert measure_fit(examples) == (pytest.approx(1, abs=0.1), 12)


def test_masks_of_other_frames_are_found():
    examples = people(16)
    order = np.random.default_rng(1).permutation(len(examples))
    found = find_implausible(relabel(examples, examples.masks[order]))
    assert len(found) == 1
    assert "outlines of nerve lie along nothing" in found[0]
    assert "16 people" in found[0]


def test_masks_the_wrong_way_round_are_found():
    examples = people()
    found = find_implausible(relabel(examples, 255 - examples.masks))
    assert any("more than half of the frame in 24 of 24 masks" in f for f in found)


def test_each_structure_is_asked_and_named():
    examples = people(16)
    order = np.random.default_rng(1).permutation(len(examples))
    masks = {"vessel": examples.masks[order], "bone": 255 - examples.masks}
    labels = {name: labels_of(mask) for name, mask in masks.items()}
    both = dataclasses.replace(examples, labels=examples.labels | labels)
    texts = find_implausible(both)
    assert [text.split(" lie ")[0] for text in texts if "lie along" in text][:1] == [
        "outlines of vessel"
    ]
    assert any(text.startswith("bone covers more than half") for text in texts)
    assert not any("nerve" in text for text in texts)


def test_greys_of_another_range_are_found():
    examples = people()
    dark = dataclasses.replace(examples, thumbnails=examples.thumbnails // 17)
    assert any("less than 16 of 256 greys" in f for f in find_implausible(dark))


def test_the_fit_of_few_people_is_not_judged():
    fit, count = measure_fit(people(5))
    assert np.isnan(fit)
    assert count == 5


def test_a_set_without_labels_has_nothing_to_judge():
    examples = people(2)
    nothing = np.zeros(len(examples), bool)
    bare = relabel(examples, np.zeros_like(examples.masks), nothing)
    assert find_implausible(bare) == []


def test_real_frames_are_believed_and_their_shuffled_masks_are_not(usgra_dir, tmp_path):
    from nerve_jax.data.loading import load_split

    examples = load_split(
        "train",
        (48, 64),
        name="ultrasound_nerve/usgra",
        records_dir=str(tmp_path),
        manual_dir=str(usgra_dir),
    )
    assert find_implausible(examples) == []
    order = np.random.default_rng(0).permutation(len(examples))
    shuffled = relabel(examples, examples.masks[order])
    assert "outlines of nerve lie along nothing" in find_implausible(shuffled)[0]
