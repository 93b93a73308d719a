"""All that is asked of an accelerator, by one command that goes on where it stopped.

    python benchmarks/accelerator.py --output=runs/accelerator --minutes=8
    python benchmarks/accelerator.py --output=runs/accelerator --report

Whether it is right (losses, predictions and resumed runs against a CPU and against
themselves), how fast it is, and what Dice it reaches in the time that is left. Every part
is written to OUTPUT/accelerator.json as it is measured; a part that is there is not
measured again. --report prints it as tables. Frames are simulated and nothing is fetched.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from accelerator_results import Results

# What the parts import, by the package that has it.
MODULES = {
    "absl-py": "absl",
    "flax": "flax",
    "jax": "jax",
    "jaxtyping": "jaxtyping",
    "ml-collections": "ml_collections",
    "numpy": "numpy",
    "optax": "optax",
    "orbax-checkpoint": "orbax",
    "pillow": "PIL",
    "rich": "rich",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "surface-distance": "surface_distance",
    "tensorboardX": "tensorboardX",
}
ROOT = Path(__file__).parents[1]
LAST_SHARE = 0.3  # of the minutes, for the last stage
GRACE_SECONDS = 60  # for a part that is being measured when the time is up
AUTOTUNING = "autotuning"  # what was tuned, for a process that resumes
MODES = {
    "excluded": "--xla_gpu_exclude_nondeterministic_ops=true "
    "--xla_gpu_per_fusion_autotune_cache_dir={output}",
    "deterministic": "--xla_gpu_deterministic_ops=true",
    "default": "",
}
CONFIGS = ("kaggle", "fast", "unet", "accurate")
DTYPES = ("bfloat16", "float32")


class Stage(NamedTuple):
    """Parts that one process measures.

    Attributes:
      parts: their names.
      environment: variables of the process, read as JAX starts.
    """

    parts: tuple[str, ...]
    environment: dict[str, str]


def list_stages(output: Path) -> list[Stage]:
    """All stages, what matters most first; the last takes the time that others leave."""
    losses = ("losses float32 20", "losses float32 1", "losses tf32 20")
    stages = [
        Stage(
            ("reference", "probs", *(f"flops {config}" for config in CONFIGS)),
            {"JAX_PLATFORMS": "cpu"},
        ),
        Stage(
            (
                *losses,
                "losses bfloat16 20",
                *(f"prediction {p}" for p in ("float32", "tf32", "bfloat16")),
                *(f"speed {CONFIGS[0]} {dtype}" for dtype in DTYPES),
                "host",
            ),
            {},
        ),
    ]
    for mode, flags in MODES.items():
        given = os.environ.get("XLA_FLAGS", "")
        flags = f"{given} {flags.format(output=output.resolve() / AUTOTUNING)}".strip()
        both = (f"whole {mode}", f"resumed {mode}")
        stages += [Stage((part,), {"XLA_FLAGS": flags}) for part in both]
    if importlib.util.find_spec("torch"):
        hows = ("compiled", "eager")
        stages.append(Stage(tuple(f"torch {d} {h}" for d in DTYPES for h in hows), {}))
    speed = (f"speed {c} {d}" for c in ("bare", *CONFIGS[1:]) for d in DTYPES)
    return [*stages, Stage(tuple(speed), {}), Stage(("dice",), {})]


def check_packages() -> None:
    """End with what is missing here, and the command that installs it."""
    missing = [n for n, m in MODULES.items() if importlib.util.find_spec(m) is None]
    if not missing:
        if importlib.util.find_spec("nerve_jax") is None:
            sys.exit(f"the project is missing here\npip install --no-deps -e {ROOT}")
        return
    pins = dict(
        re.findall(
            r"^(\S+?)(==\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
        )
    )
    wanted = " ".join(name + pins[name] for name in missing)
    sys.exit(
        f"missing here: {', '.join(missing)}\npip install {wanted}\n"
        "(jax with support for the accelerator: README.md. Other versions may do.)"
    )


def run_stage(stage: Stage, parts: list[str], output: Path, toy: bool, until: float):
    """Measure parts of a stage in a process, which is ended where it takes too long."""
    script = Path(__file__).with_name("accelerator_parts.py")
    command = [sys.executable, str(script), f"--output={output}", f"--until={until}"]
    # A program that was compiled before would not show what compiling costs.
    anew = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    environment = os.environ | anew | stage.environment
    try:
        subprocess.run(
            [*command, *["--toy"] * toy, *parts],
            env=environment,
            timeout=until - time.time() + GRACE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"ended, for the time is up: {', '.join(parts)}", flush=True)


def main() -> None:
    """Measure what is missing, or print what is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path("runs/accelerator"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", default="", help="parts whose names begin so")
    parser.add_argument("--toy", action="store_true", help="at a size for tests")
    parser.add_argument("--report", action="store_true", help="print tables of it")
    arguments = parser.parse_args()
    results = Results(arguments.output)
    check_packages()
    if arguments.report:
        from accelerator_report import print_report  # needs what was just checked

        print_report(results.read(), arguments.output)
        return
    (arguments.output / AUTOTUNING).mkdir(parents=True, exist_ok=True)
    started, seconds = time.time(), 60 * arguments.minutes
    *stages, last = list_stages(arguments.output)
    for stage in (*stages, last):
        share = 1 if stage is last else 1 - LAST_SHARE
        until = started + share * seconds
        missing = results.list_missing(stage.parts)
        parts = [part for part in missing if part.startswith(arguments.only)]
        if parts and time.time() < until:
            run_stage(stage, parts, arguments.output, arguments.toy, until)
    say_what_is_left(results, (*stages, last), arguments.only)


def say_what_is_left(results: Results, stages: tuple[Stage, ...], only: str) -> None:
    """End with the parts that are not there, and why where they failed."""
    failures = results.read()["failures"]
    names = tuple(name for stage in stages for name in stage.parts)
    left = [n for n in results.list_missing(names) if n.startswith(only)]
    for name in left:
        print(f"not measured: {name}: {failures.get(name, 'there was no time')}")
    if left:
        sys.exit(f"{len(left)} parts are left: the same command goes on with them")


if __name__ == "__main__":
    main()
