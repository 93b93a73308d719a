"""One process of accelerator.py: measures parts that share an environment, in turn."""

import argparse
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import accelerator_fast as fast
import accelerator_right as right
from accelerator_good import measure_dice
from accelerator_results import Results
from accelerator_setting import Setting


def measure_torch(setting: Setting, dtype: str, how: str) -> dict:
    """See accelerator_torch.py, which alone needs PyTorch."""
    from accelerator_torch import measure_torch

    return measure_torch(setting, dtype, how)


# By the first word of a part's name; the others are arguments.
MEASURES: dict[str, Callable[..., dict]] = {
    "reference": right.measure_reference,
    "probs": right.measure_cpu_prediction,
    "losses": right.measure_losses,
    "prediction": right.measure_prediction,
    "whole": right.measure_whole,
    "resumed": right.measure_resumed,
    "flops": fast.measure_flops,
    "speed": fast.measure_speed,
    "host": fast.measure_host,
    "torch": measure_torch,
    "dice": measure_dice,
}


def measure(name: str, setting: Setting, results: Results) -> None:
    """Measure a part and write it, or why it failed.

    What ends the process while it runs, such as a lack of memory, is a failure too.
    """
    results.add_failure(name, "the process ended while this was measured")
    kind, *arguments = name.split()
    started = time.perf_counter()
    try:
        content = MEASURES[kind](setting, *arguments)
    except Exception as error:  # noqa: BLE001  # whatever fails, the other parts are measured
        traceback.print_exc()
        results.add_failure(name, f"{type(error).__name__}: {error}"[:500])
        return
    seconds = time.perf_counter() - started
    date = time.strftime("%Y-%m-%d")
    results.add_part(name, content | {"seconds_spent": seconds, "date": date})
    print(f"{name}: {seconds:.0f} s", flush=True)


def main() -> None:
    """Measure the parts that are named, as long as there is time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("parts", nargs="+")
    arguments = parser.parse_args()
    setting = Setting(arguments.output, arguments.toy, arguments.until)
    results = Results(arguments.output)
    for name in arguments.parts:
        if time.time() < setting.until:
            measure(name, setting, results)


if __name__ == "__main__":
    main()
