import pytest

from nerve_jax.system import console, errors


@pytest.fixture(params=[0, 1])
def process(request, monkeypatch):
    monkeypatch.setattr(console.distributed.global_state, "process_id", request.param)
    return request.param


def test_only_process_0_prints(process, capsys):
    console.say("one", "two")
    errors.show_warning(UserWarning("careful"))
    console.create_console().print("a table")
    said = capsys.readouterr()
    assert console.is_first() == (process == 0)
    if process:
        assert said.out == said.err == ""
    else:
        assert said.out == "one\ntwo\na table\n"
        assert said.err == "warning: careful\n"
