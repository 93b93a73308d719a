import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import rle
from nerve_jax.data.loading import load_examples
from nerve_jax.data.records import create_builder
from nerve_jax.data.ultrasound_nerve import Builder
from nerve_jax.system.errors import InputError

SIZE = (32, 48)


def tiny(num_subjects, frames_per_subject):
    return {"num_subjects": num_subjects, "frames_per_subject": frames_per_subject}


def load(tmp_path, kind, split="train", **options):
    options = {k: str(v) if k == "manual_dir" else v for k, v in options.items()}
    builder = create_builder(
        f"ultrasound_nerve/{kind}", records_dir=str(tmp_path / "records"), **options
    )
    return load_examples(builder, split, SIZE)


def test_phantom_records(tmp_path):
    examples = load(tmp_path, "phantom", phantom=tiny(3, 2))
    assert examples.frames[:3] == ("000_000", "000_001", "001_000")
    assert examples.subjects == ("000", "000", "001", "001", "002", "002")
    assert examples.images.shape == examples.masks.shape == (6, *SIZE)
    assert examples.labelled.all()
    np.testing.assert_array_equal(examples.sizes, [[210, 290]] * 6)
    np.testing.assert_allclose(examples.spacing_mm, 0.19, rtol=1e-6)
    for i in range(6):
        truth = examples.truth(i)
        assert truth.shape == (210, 290)
        assert truth.any() == examples.presence[i]
        assert examples.masks[i].mean() / 255 == pytest.approx(truth.mean(), abs=0.004)


def test_features_are_those_of_the_data_set(tmp_path):
    builder = create_builder(
        "ultrasound_nerve/phantom",
        records_dir=str(tmp_path),
        phantom=tiny(1, 1),
    )
    assert set(builder.info.features) == {
        "image",
        "mask",
        "subject",
        "frame",
        "labelled",
        "spacing_mm",
        "scanner",
        "clip",
        "outlines",
    }
    assert builder.name == "ultrasound_nerve"
    builder.download_and_prepare()
    record = builder.as_data_source(split="train")[0]
    assert record["image"].dtype == record["mask"].dtype == np.uint8
    assert set(np.unique(record["mask"])) <= {0, 1}
    assert record["spacing_mm"].dtype == np.float32


def test_phantom_records_hold_outlines_of_structures_by_readers(tmp_path):
    names = []
    for num_readers in (1, 2):
        builder = create_builder(
            "ultrasound_nerve/phantom",
            records_dir=str(tmp_path),
            phantom=tiny(1, 2) | {"num_readers": num_readers},
        )
        builder.download_and_prepare()
        kept, readers = builder.info.metadata, ["reader1", "reader2"][:num_readers]
        assert (kept["structures"], kept["readers"]) == (["nerve", "vessel"], readers)
        for record in builder.as_data_source(split="train"):
            outlines = json.loads(record["outlines"])
            assert {s: list(by) for s, by in outlines.items()} == {
                "nerve": readers,
                "vessel": readers,
            }
            mask = record["mask"][..., 0].astype(bool)
            assert outlines["nerve"]["reader1"] == rle.encode(mask)
            assert outlines["vessel"]["reader1"]
        names.append(builder.info.full_name)
    assert len(set(names)) == 2


def test_records_are_named_after_options_and_content(
    tmp_path, write_folder, blob_frames
):
    frames = blob_frames()
    folder = write_folder(frames)

    def name(**options):
        return create_builder(
            "ultrasound_nerve/folder", records_dir=str(tmp_path), manual_dir=str(folder)
        ).info.full_name

    first = name()
    assert name() == first
    _, mask = frames["s0_1"]
    Image.fromarray(255 - mask).save(folder / "masks" / "s0_1.png")
    changed = name()
    assert changed != first
    Image.fromarray(mask).save(folder / "masks" / "s0_1.png")
    assert name() == first
    (folder / "subjects.csv").write_text(
        "frame,subject\n" + "".join(f"{stem},x\n" for stem in frames)
    )
    assert name() not in (first, changed)
    phantoms = {
        create_builder(
            "ultrasound_nerve/phantom", records_dir=str(tmp_path), phantom=o
        ).info.full_name
        for o in ({}, {"seed": 1}, {"num_subjects": 5}, {"frames_per_subject": 5})
    }
    assert len(phantoms) == 4


def test_changed_input_is_prepared_anew(tmp_path, write_folder, blob_frames):
    frames = blob_frames(2, 2)
    folder = write_folder(frames)
    before = load(tmp_path, "folder", manual_dir=folder)
    image, _ = frames["s0_1"]
    Image.fromarray(image // 2).save(folder / "images" / "s0_1.png")
    after = load(tmp_path, "folder", manual_dir=folder)
    assert before.digests[1] != after.digests[1]
    assert before.digests[2:] == after.digests[2:]


def test_folder_with_everything_it_may_hold(tmp_path):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[4:9, 5:15] = 1
    Image.fromarray(grey).save(folder / "images" / "a_1.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "images" / "a_2.tif")
    Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "images" / "b_1.bmp")
    Image.fromarray(grey[:17, :25]).save(folder / "images" / "b_2.jpg", quality=95)
    Image.fromarray(mask).save(folder / "masks" / "a_1.png")
    Image.fromarray(mask * 255).save(folder / "masks" / "a_2.bmp")
    Image.fromarray(np.stack([mask * 255] * 3, -1)).save(folder / "masks" / "b_1.png")
    examples = load(tmp_path, "folder", manual_dir=folder)
    assert examples.frames == ("a_1", "a_2", "b_1", "b_2")
    assert examples.subjects == ("a", "a", "b", "b")
    assert examples.labelled.tolist() == [True, True, True, False]
    assert examples.sizes.tolist() == [[20, 30]] * 3 + [[17, 25]]
    assert len(set(examples.digests[:3])) == 1  # the same grey values, saved three ways
    for i in range(3):
        np.testing.assert_array_equal(examples.truth(i), mask.astype(bool))
    assert not examples.truth(3).any()
    assert np.isnan(examples.spacing_mm).all()


def test_subjects_csv_names_people_and_spacing(tmp_path, write_folder, blob_frames):
    frames = blob_frames(2, 2)
    table = (
        "frame,subject,spacing_y_mm,spacing_x_mm\n"
        "s0_0,anna,0.1,0.2\ns0_1.png,bert,,\ns1_0,anna,0.3,0.3\ns1_1,carl,1,1\n"
    )
    examples = load(tmp_path, "folder", manual_dir=write_folder(frames, subjects=table))
    assert examples.subjects == ("anna", "bert", "anna", "carl")
    np.testing.assert_allclose(examples.spacing_mm[0], (0.1, 0.2), rtol=1e-6)
    assert np.isnan(examples.spacing_mm[1]).all()


def test_subjects_csv_names_scanners_and_clips(tmp_path, write_folder, blob_frames):
    folder = write_folder(blob_frames(2, 2))
    prints = set()
    for scanner, clip in (("", ""), ("", "sweep"), ("Ü 7", ""), ("Ü 7", "sweep")):
        (folder / "subjects.csv").write_text(
            "frame,subject,scanner,clip\n"
            f"s0_0,anna,{scanner},{clip}\ns0_1,anna,{scanner},\ns1_0,b,,\ns1_1,c,,\n",
            encoding="utf-8",
        )
        examples = load(tmp_path, "folder", manual_dir=folder)
        assert examples.scanners == (scanner, scanner, "", "")
        assert examples.clips == (clip, "", "", "")
        assert examples.choose(np.array([2, 0])).clips == ("", clip)
        prints.add(examples.fingerprint)
    assert len(prints) == 4  # changed columns are prepared again


def test_frames_that_name_no_subject_draw_a_warning(
    tmp_path, write_folder, blob_frames
):
    frames = dict(zip("abc", blob_frames(3, 1).values(), strict=True))
    frames["d"] = frames["a"]  # the same picture twice cannot be told apart
    with pytest.warns(UserWarning, match="4 of 4 frames name no subject"):
        examples = load(tmp_path, "folder", manual_dir=write_folder(frames))
    assert examples.subjects == ("a", "b", "c", "a")
    with pytest.warns(UserWarning, match="4 of 4 frames name no subject"):  # each time
        load(tmp_path, "folder", manual_dir=tmp_path / "frames")


def test_a_wholly_unlabelled_folder_is_prepared(tmp_path, write_folder, blob_frames):
    frames = {stem: (image, None) for stem, (image, _) in blob_frames(2, 2).items()}
    examples = load(tmp_path, "folder", manual_dir=write_folder(frames))
    assert len(examples) == 4
    assert not examples.labelled.any()


def test_every_bad_file_is_named_before_anything_is_written(
    tmp_path, write_folder, blob_frames
):
    frames = blob_frames(3, 3)
    folder = write_folder(frames)
    truncated = folder / "images" / "s0_0.png"
    truncated.write_bytes(truncated.read_bytes()[:200])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "masks" / "s0_1.png")
    Image.fromarray(np.full((40, 56), 3, np.uint8)).save(folder / "masks" / "s1_1.png")
    (folder / "images" / "s2_2.png").write_text("not an image")
    (folder / "masks" / "s2_2.png").write_text("not a mask either")
    with pytest.raises(InputError) as caught:
        load(tmp_path, "folder", manual_dir=folder)
    message = str(caught.value)
    for part in (
        "images/s0_0.png: cannot be decoded",
        "masks/s0_1.png: mask is 9x9 px, its image 56x40 px",
        "masks/s1_1.png: mask values 3; not [0, 1] or [0, 255]",
        "images/s2_2.png: cannot be decoded",
        "masks/s2_2.png: cannot be decoded",
        "(5 problems)",
    ):
        assert part in message
    assert not (tmp_path / "records").exists()


def test_names_that_do_not_fit_are_all_named(tmp_path, write_folder, blob_frames):
    folder = write_folder(blob_frames(2, 2))
    mask = folder / "masks" / "s0_1.png"
    shutil.copy(mask, folder / "masks" / "nobody.png")
    Image.open(folder / "images" / "s1_0.png").save(folder / "images" / "s1_0.tif")
    (folder / "images" / "s1_1.png").write_bytes(b"broken")
    (folder / "subjects.csv").write_text(
        "frame,subject,spacing_y_mm,spacing_x_mm\n"
        "s0_0,a,,\ns0_0,b,,\nghost,c,,\ns0_1,,,\ns1_1,d,-1,2\n"
    )
    with pytest.raises(InputError) as caught:
        load(tmp_path, "folder", manual_dir=folder)
    message = str(caught.value)
    for part in (
        "nobody.png: mask without an image",
        "s1_0.png: its name stands for two files",
        "s1_0.tif: its name stands for two files",
        "line 3: frame 's0_0' for the second time",
        "line 4: no frame 'ghost'",
        "line 5: no subject",
        "line 6: spacing ('-1', '2')",
        "no row for",
        "s1_1.png: cannot be decoded",  # said in the same breath
    ):
        assert part in message


@pytest.mark.parametrize("missing", ["folder", "kaggle", "usgra"])
def test_empty_and_absent_folders_say_what_to_do(tmp_path, missing):
    (tmp_path / "empty").mkdir()
    for manual_dir in ("", tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(InputError, match="manual_dir"):
            load(tmp_path, missing, manual_dir=manual_dir)
    (tmp_path / "empty" / "images").mkdir()
    if missing == "folder":
        with pytest.raises(InputError, match="images: no .png"):
            load(tmp_path, missing, manual_dir=tmp_path / "empty")


def test_a_size_that_is_none_is_refused(tmp_path, write_folder, blob_frames):
    builder = create_builder(
        "ultrasound_nerve/folder",
        records_dir=str(tmp_path / "records"),
        manual_dir=str(write_folder(blob_frames(2, 2))),
    )
    with pytest.raises(InputError, match=r"is not \(height, width\) in px"):
        load_examples(builder, "train", (0, 24))


def test_the_folder_of_a_user_who_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder images/"):
        load(tmp_path, "folder", manual_dir="~nobody_of_that_name/frames")


def test_unknown_data_sets_list_the_right_ones(tmp_path):
    with pytest.raises(InputError, match="phantom, kaggle, usgra, folder"):
        create_builder("ultrasound_nerve/other", records_dir=str(tmp_path))
    with pytest.raises(InputError, match="ultrasound_nerve/"):
        create_builder("mnist", records_dir=str(tmp_path))
    with pytest.raises(InputError, match="no split 'test'; it has train"):
        load(tmp_path, "phantom", "test", phantom=tiny(1, 1))


def zip_up(folder, path):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_kaggle_unpacked(tmp_path, kaggle_dir):
    train = load(tmp_path, "kaggle", manual_dir=kaggle_dir)
    assert train.frames == ("10_1", "10_2", "1_1", "1_2", "2_1", "2_2")
    assert train.subjects == ("10", "10", "1", "1", "2", "2")
    assert train.presence.tolist() == [True, False] * 3
    assert train.truth(0).sum() == 200
    test = load(tmp_path, "kaggle", "test", manual_dir=kaggle_dir)
    assert test.frames == ("1", "2", "3")
    assert not test.labelled.any()


def test_kaggle_zip_as_downloaded_is_the_same_data(tmp_path, kaggle_dir):
    unpacked = load(tmp_path, "kaggle", manual_dir=kaggle_dir)
    path = zip_up(kaggle_dir, tmp_path / "zipped" / "ultrasound-nerve-segmentation.zip")
    for manual_dir in (path.parent, path):
        zipped = load(tmp_path, "kaggle", manual_dir=manual_dir)
        assert zipped.fingerprint == unpacked.fingerprint
        assert zipped.digests == unpacked.digests
    shutil.copy(path, kaggle_dir)  # the zip left beside what came out of it
    assert (
        load(tmp_path, "kaggle", manual_dir=kaggle_dir).fingerprint
        == unpacked.fingerprint
    )


def test_kaggle_mask_that_differs_from_the_table_is_named(tmp_path, kaggle_dir):
    table = kaggle_dir / "train_masks.csv"
    table.write_text(table.read_text().replace("2,2,", "2,2,5 3") + "99,1,\n")
    with pytest.raises(InputError, match="99_1: no such frame"):
        load(tmp_path, "kaggle", manual_dir=kaggle_dir)
    table.write_text(table.read_text().replace("99,1,\n", ""))
    with pytest.raises(
        InputError, match=r"2_2_mask\.tif: differs from its row"
    ) as caught:
        load(tmp_path, "kaggle", manual_dir=kaggle_dir)
    assert "(1 problem)" in str(caught.value)


def test_kaggle_mask_without_an_image_is_named(tmp_path, kaggle_dir):
    (kaggle_dir / "train" / "1_1.tif").unlink()
    (kaggle_dir / "train_masks.csv").unlink()
    with pytest.raises(InputError, match=r"1_1_mask\.tif: mask without an image"):
        load(tmp_path, "kaggle", manual_dir=kaggle_dir)


def test_kaggle_frame_whose_mask_is_gone_is_named(tmp_path, kaggle_dir):
    (kaggle_dir / "train" / "1_1_mask.tif").unlink()
    with pytest.raises(InputError, match=r"1_1\.tif: has a row in train_masks"):
        load(tmp_path, "kaggle", manual_dir=kaggle_dir)


def test_a_damaged_zip_member_is_named(tmp_path, kaggle_dir):
    path = tmp_path / "zipped" / "k.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(kaggle_dir.rglob("*.*")):
            archive.write(file, file.relative_to(kaggle_dir))
        place = archive.getinfo("train/2_1.tif").header_offset
    content = bytearray(path.read_bytes())
    content[place + 60 : place + 200] = bytes(140)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"k\.zip:train/2_1\.tif"):
        load(tmp_path, "kaggle", manual_dir=path)


def test_a_damaged_zip_is_named(tmp_path, kaggle_dir):
    path = zip_up(kaggle_dir, tmp_path / "zipped" / "k.zip")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"k\.zip: not a whole zip"):
        load(tmp_path, "kaggle", manual_dir=path.parent)


def test_the_open_set(tmp_path, usgra_dir):
    train = load(tmp_path, "usgra", manual_dir=usgra_dir)
    test = load(tmp_path, "usgra", "test", manual_dir=usgra_dir)
    assert (len(train), len(test)) == (204, 40)
    assert train.presence.all()
    assert not set(train.frames) & set(test.frames)
    same = dict(zip(train.frames, train.subjects, strict=True))
    assert same["0043"] == same["0077"]
    assert len(set(train.subjects)) == 203
    first = int(train.positions(["0000"])[0])
    original = np.asarray(Image.open(usgra_dir / "masks" / "0000.png"))
    np.testing.assert_array_equal(train.truth(first), original == 1)
    outlines = json.loads(train.source[int(train.records[first])]["outlines"])
    assert list(outlines) == ["nerve", "vessel"]
    assert outlines["vessel"] == {"reader1": rle.encode(original == 2)}


def test_subjects_stay_whole_in_every_configuration(
    tmp_path, kaggle_dir, write_folder, blob_frames, request
):
    from nerve_jax.data.splits import create_splits

    sets = {
        "phantom": {"phantom": tiny(5, 2)},
        "kaggle": {"manual_dir": kaggle_dir},
        "folder": {"manual_dir": write_folder(blob_frames(5, 3))},
    }
    assert {c.name for c in Builder.BUILDER_CONFIGS} == {*sets, "usgra"}
    try:
        sets["usgra"] = {"manual_dir": request.getfixturevalue("usgra_dir")}
    except pytest.skip.Exception:
        pass
    for kind, options in sets.items():
        examples = load(tmp_path, kind, **options)
        subject_of = dict(zip(examples.frames, examples.subjects, strict=True))
        splits = create_splits(
            examples.frames, examples.subjects, examples.presence, num_folds=3, seed=0
        )
        for fold in splits:
            train = {subject_of[f] for f in fold["train"]}
            assert train.isdisjoint(subject_of[f] for f in fold["val"]), kind
