import io

from rich.console import Console

from nerve_jax.training.progress import TrainingBar


def show(terminal, width=100):
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=terminal, width=width, highlight=False
    )
    bar = TrainingBar([2], 10, 8, "dice", console)
    with bar.bar:
        bar.start_at(2, 4)
        bar.show_step(6, 0.31234)
        bar.show_eval(
            {
                "fold": 2,
                "step": 7,
                "loss": 0.3,
                "dice": 0.87654,
                "images_per_second": 25.4,
            }
        )
    return screen.getvalue()


def test_on_a_terminal_one_line_tells_all():
    said = show(terminal=True)
    for part in (
        "fold 2",
        "6/10",
        "loss 0.312",
        "Dice 0.877",
        "img/s",
        "going on from step 4",
    ):
        assert part in said


def test_elsewhere_each_evaluation_is_a_line():
    said = show(terminal=False, width=20)  # which breaks no line
    assert "fold 2  step 7/10  loss 0.300  Dice 0.877  25.4 img/s" in said
    assert "6/10" not in said
