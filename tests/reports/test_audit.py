"""Faults planted in a data set are found, and the folds mind them."""

import dataclasses
import json

import numpy as np
import pytest

from nerve_jax.commands.audit import audit
from nerve_jax.data import likeness, population
from nerve_jax.data.duplicates import PARTNERS
from nerve_jax.data.loading import load_examples
from nerve_jax.data.population import find_people, leave_out_doubtful
from nerve_jax.data.records import create_builder
from nerve_jax.data.splits import create_splits
from nerve_jax.reports.audit import LISTED, audit_structures, compute_audit
from nerve_jax.reports.audit_text import describe
from tests.samples import labels_of, texture

SIZE = (96, 128)


def disc(y, x, radius):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (np.hypot(rows - y, columns - x) < radius).astype(np.uint8) * 255


def cohort():
    """Six people of four frames each, every second one with a nerve."""
    rng = np.random.default_rng(0)
    return {
        f"s{person}_{index}": (
            texture(10 * person + index),
            disc(*(rng.normal((40, 60), 2)), 12) * (index % 2),
        )
        for person in range(6)
        for index in range(4)
    }


@pytest.fixture
def load(tmp_path, write_folder):
    """Return `load(frames) -> examples` of a folder made of them."""

    def load(frames, name="frames"):
        builder = create_builder(
            "ultrasound_nerve/folder",
            manual_dir=str(write_folder(frames, name=name)),
            records_dir=str(tmp_path / "records"),
        )
        return load_examples(builder, "train", SIZE)

    return load


def findings(examples):
    return compute_audit(find_people(examples))


def test_a_clean_cohort_has_no_findings(load):
    found = findings(load(cohort()))
    for count in range(3):
        warned = ["masks inverted", "greys narrow"][:count]
        text = describe(found | {"implausible": warned})
        assert text.count("warning: ") == count
        assert f"0 in their mask; warnings of the set as a whole: {count}" in text
    for name in (
        *("shared_subjects", "exact_duplicates", "near_duplicates", "contradictions"),
        *("odd_sizes", "odd_intensities", "odd_masks", "doubtful"),
    ):
        assert found[name] == [], name
    assert found["num_within_clips"] == 0
    assert np.isnan(found["label_noise_dice"])
    assert found["presence_by_subject"]["s3"] == [2, 4]
    assert not found["one_frame_a_subject"]


def test_a_planted_leak_is_found_and_the_folds_keep_it_together(load):
    frames = cohort()
    for index in range(4):  # the frames of s1, under another number
        frames[f"s9_{index}"] = frames[f"s1_{index}"]
    examples = load(frames)
    found = findings(examples)
    assert found["shared_subjects"] == [["s1", "s9"]]
    assert [p["frames"] for p in found["exact_duplicates"]] == [
        [f"s1_{i}", f"s9_{i}"] for i in range(4)
    ]
    groups = find_people(examples).groups
    for seed in range(5):
        for split in create_splits(
            examples.frames, groups, examples.presence, num_folds=3, seed=seed
        ):
            sides = [{f[:2] for f in split[part]} for part in ("train", "val")]
            assert any({"s1", "s9"} <= side for side in sides)
            assert not sides[0] & sides[1]


def test_a_planted_contradiction_is_found(load):
    frames = cohort()
    image, mask = frames["s2_1"]
    frames["s2_8"] = (image, np.zeros_like(mask))
    frames["s4_8"] = (frames["s4_3"][0], disc(70, 100, 12))
    found = findings(load(frames))
    kinds = {
        tuple(p["frames"]): (p["kind"], p["dice"]) for p in found["contradictions"]
    }
    assert kinds == {
        ("s2_1", "s2_8"): ("one is labelled empty", 0),
        ("s4_3", "s4_8"): ("outlines differ", 0),
    }
    assert found["doubtful"] == ["s2_1", "s2_8"]  # one against one
    assert found["label_noise_dice"] == 0
    assert found["num_label_pairs"] == 2


def test_clean_training_leaves_out_what_another_training_frame_contradicts(load):
    frames = cohort()
    image, mask = frames["s2_1"]
    frames["s2_8"] = (image, np.zeros_like(mask))
    examples = load(frames)
    people = find_people(examples)
    everything = np.arange(len(examples))
    twin, other = examples.positions(["s2_1", "s2_8"])
    kept = leave_out_doubtful(everything, people)
    np.testing.assert_array_equal(kept, np.delete(everything, [twin, other]))
    # A label of a frame that is not trained on must not say what is.
    others = np.delete(everything, twin)
    np.testing.assert_array_equal(leave_out_doubtful(others, people), others)


def test_thumbnails_are_normalised_once_for_all_that_is_asked(load, monkeypatch):
    examples, shapes = load(cohort()), []

    def normalise(thumbnails):
        shapes.append(thumbnails.shape)
        return likeness.normalise(thumbnails)

    monkeypatch.setattr(population, "normalise", normalise)
    people = find_people(examples)
    compute_audit(people)
    for part in np.split(np.arange(len(examples)), 2):
        leave_out_doubtful(part, people)
    assert shapes == [examples.thumbnails.shape]


def test_label_noise_is_the_dice_between_labels_of_one_view(load):
    frames = cohort()
    frames["s2_8"] = (frames["s2_1"][0], disc(42, 62, 12))
    found = findings(load(frames))
    (pair,) = found["exact_duplicates"]
    assert found["contradictions"] == []
    assert 0.5 < pair["dice"] == found["label_noise_dice"] < 1
    assert found["label_noise_dice"] < found["perfect_model_dice"] < 1


@pytest.mark.parametrize("odd_one_shows_a_nerve", [True, False])
def test_an_odd_label_is_outvoted_on_either_side(load, odd_one_shows_a_nerve):
    """Of eleven frames of one view ten agree; only the eleventh is left out."""
    frames = cohort()
    image, nerve = frames["s2_1"][0], disc(40, 60, 12)
    for index in range(10, 21):
        present = (index == 14) == odd_one_shows_a_nerve
        frames[f"s7_{index}"] = (image, nerve * present)
    del frames["s2_1"]
    examples = load(frames)
    assert findings(examples)["doubtful"] == ["s7_14"]
    everything = np.arange(len(examples))
    kept = leave_out_doubtful(everything, find_people(examples))
    left_out = np.delete(everything, kept)
    assert [examples.frames[i] for i in left_out] == ["s7_14"]


def test_a_view_of_many_labels_weighs_no_more_than_one_of_two(load):
    frames = cohort()
    frames["s2_8"] = (frames["s2_1"][0], disc(44, 64, 12))
    for index in range(30, 42):
        frames[f"s3_{index}"] = frames["s3_1"]
    found = findings(load(frames))
    (dice,) = [p["dice"] for p in found["exact_duplicates"] if p["dice"] < 1]
    assert found["num_label_views"] == 2
    assert found["num_label_pairs"] > 12
    assert found["label_noise_dice"] == pytest.approx((1 + dice) / 2)


def test_a_still_probe_gives_no_more_findings_than_can_be_read(load):
    frames = cohort()
    for index in range(30, 130):
        frames[f"s3_{index}"] = frames["s3_1"]
    examples = load(frames)
    found = findings(examples)
    assert found["num_exact_duplicates"] == 101 * 100 // 2
    assert found["num_compared"] <= PARTNERS * len(examples)
    assert len(found["exact_duplicates"]) == LISTED
    assert f"{found['num_exact_duplicates'] - LISTED} are not listed" in describe(found)


def test_a_sweep_is_alike_by_nature_and_no_finding(load, tmp_path):
    """But labels that contradict each other within it are, and a leak out of it is."""
    frames = cohort()
    for index in range(30, 130):
        frames[f"s3_{index}"] = frames["s3_1"]
    frames["s3_200"] = (frames["s3_1"][0], np.zeros(SIZE, np.uint8))
    frames["s9_0"] = frames["s3_1"]
    examples = load(frames)
    clips = tuple("sweep" if s == "s3" else "" for s in examples.subjects)
    examples = dataclasses.replace(examples, clips=clips)
    people = find_people(examples)
    assert len({g for g, clip in zip(people.groups, clips, strict=True) if clip}) == 1
    found = compute_audit(people)
    assert found["num_within_clips"] == 102 * 101 // 2
    assert found["num_exact_duplicates"] == found["num_across_subjects"] == 102
    assert {p["frames"][1] for p in found["exact_duplicates"]} == {"s9_0"}
    assert found["near_duplicates"] == []
    assert "s3_200" in {f for p in found["contradictions"] for f in p["frames"]}
    assert f"; {102 * 101 // 2} more within clips, as expected" in describe(found)
    content = audit(examples, tmp_path / "out")
    assert content["num_within_clips"] == found["num_within_clips"]
    row = f"within clips, as expected</td><td>{found['num_within_clips']}</td>"
    assert row in (tmp_path / "out" / "audit.html").read_text()


def test_frames_and_masks_unlike_the_others_are_named_with_a_reason(load):
    frames = cohort()
    frames["s0_8"] = (texture(500, (100, 128)), np.zeros((100, 128), np.uint8))
    bright = texture(501).copy()
    bright[:60, :60] = 255
    frames["s0_9"] = (bright, np.zeros(SIZE, np.uint8))
    frames["s0_10"] = (np.full(SIZE, 7, np.uint8), np.zeros(SIZE, np.uint8))
    frames["s0_11"] = (texture(502), disc(40, 60, 3))
    frames["s0_12"] = (texture(503), disc(80, 110, 12))
    frames = dict(sorted(frames.items()))
    found = findings(load(frames))
    reasons = {
        entry["frame"]: " ".join(entry["reasons"])
        for name in ("odd_sizes", "odd_intensities", "odd_masks")
        for entry in found[name]
    }
    assert reasons.keys() == {"s0_8", "s0_9", "s0_10", "s0_11", "s0_12"}
    assert "100x128 px, not 96x128" in reasons["s0_8"]
    assert "saturated" in reasons["s0_9"]
    assert "shows nothing" in reasons["s0_10"]
    assert "area" in reasons["s0_11"]
    assert "centre" in reasons["s0_12"]


def test_the_page_and_the_json_hold_what_was_found(load, tmp_path, capsys):
    frames = cohort()
    frames["s9_0"] = frames["s1_1"]
    content = audit(load(frames), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert written["shared_subjects"] == content["shared_subjects"] == [["s1", "s9"]]
    page = (tmp_path / "out" / "audit.html").read_text()
    pictures = 4 + len(content["odd_masks"])  # shared between subjects, equal, odd
    assert page.count("data:image/jpeg") == pictures
    assert "s1 + s9" in page
    assert "1 of them across subjects" in capsys.readouterr().out


def test_people_of_another_split_are_named(load, tmp_path, capsys):
    """s1 is in both, there under another name and one grey level brighter."""
    frames, others = cohort(), {}
    for index in range(4):
        image, mask = frames[f"s1_{index}"]
        others[f"t5_{index}"] = (np.minimum(image, 254) + np.uint8(1), mask)
    for index in range(6):
        others[f"t6_{index}"] = (texture(900 + index), mask)
    test = load(others, "test")
    content = audit(load(frames, "train"), tmp_path / "out", {"test": test})
    assert content["in_other_splits"] == {"test": [f"s1_{i}" for i in range(4)]}
    assert "4 frames are of people who are in split test too" in capsys.readouterr().out
    assert "4 frames are of people who" in (tmp_path / "out" / "audit.html").read_text()


def test_a_cohort_without_names_is_called_optimistic(load):
    frames = {f"{i}": pair for i, pair in enumerate(cohort().values())}
    with pytest.warns(UserWarning, match="name no subject"):
        found = findings(load(frames))
    assert found["one_frame_a_subject"]


def with_vessel(examples, masks, labelled=None):
    """Frames with a second structure, of masks by frame and none in all others."""
    drawn = np.zeros_like(examples.masks)
    for frame, mask in masks.items():
        drawn[examples.frames.index(frame)] = mask
    seen = np.isin(examples.frames, labelled) if labelled else None
    labels = examples.labels | {"vessel": labels_of(drawn, seen)}
    return dataclasses.replace(examples, labels=labels)


@pytest.fixture
def vessels(load):
    """A vessel in each frame; one is tiny, and in one of two equal frames it is missing."""
    frames = cohort()
    frames["s2_8"] = frames["s2_1"]
    examples = load(frames)
    rng = np.random.default_rng(1)
    masks = {f: disc(*rng.normal((60, 90), 2), 10) for f in examples.frames}
    masks["s2_8"] = disc(0, 0, 0)
    masks["s4_2"] = disc(60, 90, 2)
    return with_vessel(examples, masks)


def test_labels_of_each_structure_are_audited_by_themselves(vessels, tmp_path, capsys):
    content = audit(vessels, tmp_path / "out")
    plain = compute_audit(find_people(vessels.of("nerve")))
    assert set(plain.pop("implausible")) < set(content["implausible"])
    np.testing.assert_equal({key: content[key] for key in plain}, plain)
    assert content["num_contradictions"] == len(content["odd_masks"]) == 0
    assert content["structures"] == ["nerve", "vessel"]
    own = content["by_structure"]["vessel"]
    np.testing.assert_equal(own, audit_structures(find_people(vessels))["vessel"])
    assert [p["frames"] for p in own["contradictions"]] == [["s2_1", "s2_8"]]
    assert own["doubtful"] == ["s2_1", "s2_8"]
    assert [entry["frame"] for entry in own["odd_masks"]] == ["s4_2"]
    assert own["presence_by_subject"]["s2"] == [4, 5]
    assert own["label_noise_dice"] == 0
    said = capsys.readouterr().out
    assert "nerve: 25 of 25 frames labelled for it; 13 show it; 0 of " in said
    assert "vessel: 25 of 25 frames labelled for it; 24 show it; 1 of " in said
    assert "2 labels in doubt, 1 mask unlike the rest; two labels of one view" in said
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "<h2>vessel</h2>" in page
    assert page.count("data:image/jpeg") == 2 + 2 + 1  # equal, contradiction, odd
    assert "Most frames are not labelled" not in page


def test_a_structure_that_most_frames_are_not_labelled_for_is_said_so(
    load, tmp_path, capsys
):
    examples = load(cohort())
    seen = ["s0_0", "s0_1", "s3_2"]
    masks = dict.fromkeys(seen[1:], disc(60, 90, 10))
    content = audit(with_vessel(examples, masks, seen), tmp_path / "out")
    assert content["by_structure"]["vessel"]["num_labelled"] == 3
    assert content["by_structure"]["vessel"]["presence_by_subject"]["s1"] == [0, 0]
    said = capsys.readouterr().out
    assert "vessel: 3 of 24 frames labelled for it, most are not; 2 show it" in said
    assert "nerve: 24 of 24 frames labelled for it; " in said
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "Most frames are not labelled for vessel: " in page
    assert "are of 3 frames" in page


def test_a_set_of_one_structure_is_said_nothing_of_others(load, tmp_path, capsys):
    content = audit(load(cohort()), tmp_path / "out")
    assert (content["structures"], content["by_structure"]) == (["nerve"], {})
    assert "labelled for it" not in capsys.readouterr().out
    assert "Structures</h2>" not in (tmp_path / "out" / "audit.html").read_text()


def test_masks_of_a_structure_that_fit_nothing_are_warned_of(load, tmp_path, capsys):
    examples = load(cohort())
    masks = dict.fromkeys(examples.frames, 255 - disc(48, 64, 20))
    content = audit(with_vessel(examples, masks), tmp_path / "out")
    (text,) = [t for t in content["implausible"] if "wrong way round" in t]
    assert text.startswith("vessel covers more than half of the frame in 24 of 24")
    assert text in content["by_structure"]["vessel"]["implausible"]
    assert f"warning: {text}" in capsys.readouterr().out
    assert text in (tmp_path / "out" / "audit.html").read_text()
