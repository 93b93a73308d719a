import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.commands import evaluate
from nerve_jax.commands.setup import check_config, create_model_of
from nerve_jax.commands.train import cross_validate
from nerve_jax.data.duplicates import Duplicates
from nerve_jax.data.examples import Examples, Labels
from nerve_jax.data.population import Population
from nerve_jax.model.unet import create_model
from nerve_jax.runs import checkpoints
from nerve_jax.runs.config import to_plain
from nerve_jax.runs.folder import Fold
from nerve_jax.runs.seen import load_seen
from nerve_jax.system import devices
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import write_json
from nerve_jax.training import transfer
from nerve_jax.training.optimizer import create_transform


def arrays(seed, **options):
    """Parameters that are nowhere 0."""
    _, init = create_model(**({"widths": (8, 16)} | options))
    fill = np.random.default_rng(seed).uniform(1, 2, 200_000).astype(np.float32)
    return {
        name: jnp.asarray(fill[: p.size].reshape(p.shape) + seed)
        for name, p in jax.eval_shape(init, jax.random.key(0)).items()
    }


OURS, THEIRS = arrays(0, block="residual"), arrays(9, block="residual")


def begun(params, given, take):
    """Names of arrays that came from the other run."""
    found, matched = transfer.match(params, given, take)
    assert found.keys() == params.keys()
    taken = set()
    for name, array in found.items():
        source = given if name in given and (array == given[name]).all() else params
        np.testing.assert_array_equal(array, source[name])
        taken |= {name} if source is given else set()
    assert {line.split()[0] for line in matched["taken"]} == taken
    assert {line.split()[0] for line in matched["new"]} == params.keys() - taken
    assert {line.split()[0] for line in matched["skipped"]} == given.keys() - taken
    return taken


def test_what_is_taken_is_what_was_asked_for():
    encoder = begun(OURS, THEIRS, "encoder")
    assert encoder == {name for name in OURS if name.startswith("encoder/")}
    body = begun(OURS, THEIRS, "all_but_heads")
    heads = {name.split("/")[0] for name in OURS.keys() - body}
    assert heads == {"head", "presence"}
    assert encoder < body
    assert begun(OURS, THEIRS, "all") == OURS.keys()


def test_arrays_of_another_shape_or_name_are_skipped_with_the_reason():
    deeper = arrays(9, block="residual", widths=(8, 32, 32))
    _, matched = transfer.match(OURS, deeper, "all")
    lines = {line.split()[0]: line for line in matched["skipped"]}
    assert "(here [3, 3, 8, 16])" in lines["encoder/1/0/conv_a/kernel"]
    assert "(not there here)" in lines["encoder/2/0/conv_a/kernel"]
    assert "encoder/0/0/conv_a/kernel [3, 3, 1, 8]" in matched["taken"]


def test_a_frozen_encoder_stays_and_a_slowed_one_moves_less():
    def train(steps, **options):
        optimizer = create_transform(
            learning_rate=0.1,
            num_train_steps=10,
            warmup_steps=0,
            weight_decay=0.1,
            clip_norm=1.0,
            **options,
        )
        params, state = given, optimizer.init(given)
        for _ in range(steps):
            updates, state = optimizer.update(given, state, params)
            params = jax.tree.map(jnp.add, params, updates)
        return {n[:7]: np.abs(params[n] - given[n]).mean() for n in given}

    names = ("encoder/0/0/conv_a/kernel", "decoder/0/0/conv_a/kernel")
    given = {name: OURS[name] for name in names}
    plain = train(3)
    frozen = train(3, encoder_frozen_steps=3)
    assert frozen["encoder"] == 0
    assert frozen["decoder"] == pytest.approx(plain["decoder"])
    assert train(4, encoder_frozen_steps=3)["encoder"] > 0
    slowed = train(3, encoder_rate_factor=0.1)
    assert slowed["encoder"] == pytest.approx(0.1 * plain["encoder"], rel=0.05)
    assert slowed["decoder"] == pytest.approx(plain["decoder"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"start.take": "heads"}, "start.take='heads' is not one of: encoder, all_but"),
        ({"start.encoder_frozen_steps": -1}, "must be at least 0"),
        ({"start.encoder_rate_factor": -0.1}, "must be at least 0"),
        ({"start.encoder_frozen_steps": 9}, "kept at random weights"),
    ],
)
def test_fields_that_do_not_fit_are_refused(small_config, fields, said):
    with pytest.raises(InputError, match=said):
        check_config(small_config(**fields), devices.create_mesh())


@pytest.mark.parametrize("theirs", [("nerve",), ("vessel", "nerve"), ("artery",)])
def test_all_is_taken_of_runs_of_the_same_structures_alone(
    tmp_path, small_config, theirs
):
    """Heads of other structures may have the shapes of ours."""
    _, population = scored_on(["a"])
    config = small_config(**{"data.structures": theirs})
    write_json(tmp_path / "config.json", to_plain(config))
    if theirs == ("nerve",):
        transfer.make_begin(population, workdir=str(tmp_path), take="all")
    else:
        with pytest.raises(InputError, match="would begin as that of another"):
            transfer.make_begin(population, workdir=str(tmp_path), take="all")
    transfer.make_begin(population, workdir=str(tmp_path), take="all_but_heads")


NO_DUPLICATES = Duplicates([], np.zeros(0, np.int64), 0, 0, 0, 0)


def seen_by(tmp_path, folds):
    """A finished run of which each fold has seen given people, and no frame of ours."""
    for number, people in folds.items():
        folder = tmp_path / f"fold_{number}"
        folder.mkdir()
        (folder / "summary.json").write_text("{}")
        split = {"train": [f"{person}_0" for person in people], "val": []}
        (folder / "split.json").write_text(json.dumps(split))
    everyone = sorted({person for people in folds.values() for person in people})
    rows = [f"{p}_0,{p},{p},1,1,digest-{p}" for p in everyone]
    header = "frame,subject,group,labelled,presence,digest"
    (tmp_path / "frames.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "dataset.json").write_text('{"fingerprint": "set-1"}')
    return tmp_path


def scored_on(people, fingerprint="set-1", digests=None):
    count = len(people)
    grey = np.zeros((count, 4, 4), np.uint8)
    examples = Examples(
        images=grey,
        thumbnails=grey,
        labels={"nerve": Labels(grey, ("",) * count, np.ones(count, bool), {})},
        sizes=np.full((count, 2), 4),
        frames=tuple(f"{person}_7" for person in people),
        subjects=tuple(people),
        scanners=("",) * count,
        clips=("",) * count,
        spacing_mm=np.full((count, 2), np.nan),
        saturated_share=np.zeros(count),
        digests=tuple(digests or [f"new-{person}" for person in people]),
        fingerprint=fingerprint,
        source=[],
        records=np.arange(count),
    )
    fold = Fold(1, Path(), np.arange(0), np.arange(0), np.arange(count))
    return fold, Population(examples, NO_DUPLICATES, list(people), None)


def test_weights_come_of_a_fold_that_has_not_seen_whom_we_score(tmp_path):
    source = seen_by(tmp_path, {0: "bc", 1: "ac", 2: "ab"})
    assert transfer.choose_fold(source, *scored_on("b")) == 1  # of the same number
    assert transfer.choose_fold(source, *scored_on("a")) == 0
    assert transfer.choose_fold(source, *scored_on("c")) == 2
    with pytest.raises(InputError, match=r"all trained on .* such as a_7"):
        transfer.choose_fold(source, *scored_on("ab"))


def test_people_of_another_set_are_others_unless_a_frame_is_the_same(tmp_path):
    source = seen_by(tmp_path, {0: "ab"})
    assert transfer.choose_fold(source, *scored_on("ab", "set-2")) == 0
    with pytest.raises(InputError, match="such as a_7"):
        transfer.choose_fold(source, *scored_on("a", "set-2", ["digest-b"]))


def test_people_of_phantoms_of_one_seed_are_the_same_however_many(tmp_path):
    source = seen_by(tmp_path, {0: "ab"})
    of = "ultrasound_nerve/phantom-seed7-{}/1.0.0"
    text = json.dumps({"fingerprint": of.format("1a")})
    (source / "dataset.json").write_text(text)
    with pytest.raises(InputError, match="such as a_7"):
        transfer.choose_fold(source, *scored_on("a", of.format("2b")))
    other = of.format("1a").replace("seed7", "seed70")
    assert transfer.choose_fold(source, *scored_on("a", other)) == 0


def test_people_stay_known_whichever_version_their_records_are_of(tmp_path):
    source = seen_by(tmp_path, {0: "ab"})
    of = "ultrasound_nerve/folder-0123456789ab/"
    (source / "dataset.json").write_text(json.dumps({"fingerprint": of + "1.0.0"}))
    with pytest.raises(InputError, match="such as a_7"):
        transfer.choose_fold(source, *scored_on("a", of + "1.1.0"))


def test_a_run_without_a_finished_fold_has_nothing_to_give(tmp_path):
    with pytest.raises(InputError, match="no fold is trained to its end"):
        transfer.choose_fold(tmp_path, *scored_on("a"))


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_another_and_says_so(
    small_config, write_folder, blob_frames, tmp_path, capsys
):
    """Of another data set and size; whom the first has seen stays known in the second."""
    source = tmp_path / "source"
    cross_validate(small_config(num_train_steps=2), source)
    config = small_config(
        **{
            "start.workdir": str(source),
            "data.manual_dir": str(
                write_folder(blob_frames(4, 3, seed=1), name="others")
            ),
            "data.image_size": (32, 40),
            "start.encoder_frozen_steps": 1,
            "optimizer.ema_decay": 0.0,
        },
        num_train_steps=1,
    )
    capsys.readouterr()
    cross_validate(config, tmp_path / "next")
    said = capsys.readouterr().out
    assert f"begins with weights of {source}, fold 0" in said
    assert "4 new: head/bias [1], head/kernel" in said
    noted = json.loads((tmp_path / "next" / "fold_0" / "init.json").read_text())
    assert len(noted["taken"]) == 20
    weights = [
        checkpoints.load_average(folder / "fold_0" / "checkpoints", shapes_of(config))
        for folder in (source, tmp_path / "next")
    ]
    for name, array in weights[1].items():
        kept = (array == weights[0][name]).all()
        assert kept == name.startswith("encoder/"), name
        close = np.allclose(array, weights[0][name], atol=0.01)  # one step
        assert close or name.startswith(("head/", "presence/")), name
    seen = [load_seen(folder, 0, "train") for folder in (source, tmp_path / "next")]
    assert set(seen[0].digests) < set(seen[1].digests)
    assert seen[1].whole
    carried = seen[1].thumbnails[-len(seen[0].digests) :]
    np.testing.assert_array_equal(carried, seen[0].thumbnails)
    assert seen[0].people.items() < seen[1].people.items()
    # The weights are of fold 0 alone, which may score only its own validation people.
    content = evaluate.evaluate(tmp_path / "next", {}, "train")
    assert content["num_frames"] == 6
    wider = small_config(
        **{
            "start.workdir": str(source),
            "model.widths": (24, 48),
            "start.take": "encoder",
        },
    )
    with pytest.raises(InputError, match="none has the name and shape"):
        cross_validate(wider, tmp_path / "wider")
    assert not list((tmp_path / "wider" / "fold_0").glob("checkpoints/*"))


def shapes_of(config):
    _, init = create_model_of(config)
    shapes = jax.eval_shape(init, jax.random.key(0))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: x.update(sharding=here), shapes)


def test_whom_weights_have_seen_is_known_down_the_line(tmp_path):
    source = seen_by(tmp_path, {0: "ab"})
    before = {"digests": ["old"], "people": {"set-0": ["z"], "set-1": ["y"]}}
    (source / "fold_0" / "init.json").write_text(json.dumps({"seen": before}))
    seen = load_seen(source, 0, "train")
    assert set(seen.digests) == {"digest-a", "digest-b", "old"}
    assert not seen.whole  # an earlier version made it
    assert seen.people == {"set-0": {"z"}, "set-1": {"a", "b", "y"}}
    assert load_seen(source, 0, "val").digests == ()
