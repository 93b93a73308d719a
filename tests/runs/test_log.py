import json

from tensorboardX.proto.event_pb2 import Event

from nerve_jax.runs.log import MetricsLog


def test_the_log_forgets_what_a_resumed_fold_does_again(tmp_path):
    log = MetricsLog(tmp_path)
    log.begin(0, 0)
    log.begin(1, 0)
    for fold, step in ((0, 5), (1, 5), (1, 10)):
        log.write({"fold": fold, "step": step})
    with log.path.open("a") as file:
        file.write('{"fold": 1, "st')  # cut short by a kill
    log.begin(1, 5)
    log.write({"fold": 1, "step": 10, "again": True, "dice": float("nan")})
    rows = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(r["fold"], r["step"]) for r in rows] == [(0, 5), (1, 5), (1, 10)]
    assert rows[-1]["again"]
    assert rows[-1]["dice"] is None


def read_events(path):
    """Events of a file: each a length (8 bytes), its check (4), the event, a check."""
    content, events = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def test_event_files_hold_the_scores_and_say_where_a_run_went_on(tmp_path):
    log = MetricsLog(tmp_path)
    log.begin(2, 0)
    log.write({"fold": 2, "step": 5, "dice": 0.5, "loss": 1.25})
    log.close()
    (path,) = (tmp_path / "tensorboard" / "fold_2").iterdir()
    scalars = {
        (value.tag, event.step): value.simple_value
        for event in read_events(path)
        for value in event.summary.value
    }
    assert scalars == {("dice", 5): 0.5, ("loss", 5): 1.25}
    path.unlink()
    again = MetricsLog(tmp_path)
    again.begin(2, 5)
    again.close()
    (path,) = (tmp_path / "tensorboard" / "fold_2").iterdir()
    # What an older file holds from this step on is void to TensorBoard.
    assert any(e.session_log.status == 1 and e.step == 6 for e in read_events(path))
