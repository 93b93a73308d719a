"""The results of accelerator.py as tables in Markdown."""

import json
import statistics
from pathlib import Path

from nerve_jax.system.targets import CHIPS

# Of a loss, relative to the CPU's: of the first, which sums in another order alone can
# change, and of the following, for Adam carries the difference on and enlarges it.
FIRST_LOSS_TOLERANCE, LOSS_TOLERANCE = 1e-4, 1e-2
PROB_TOLERANCE = 1e-3  # of a probability by the same weights, absolute
EVALUATED, REPORTED = 1127, 5635  # frames of a fold, and of all, in the competition
# Chips by what the kind of a device begins with; the first that fits counts. An H200
# multiplies as an H100 does.
KINDS = {
    "NVIDIA A100": "a100",
    "NVIDIA H100 80GB": "h100",
    "NVIDIA H200": "h100",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v6 lite": "v6e",
}
Parts = dict[str, dict]


def find_peak(kind: str, dtype: str) -> float | None:
    """Peak of a device in FLOP/s; None where it is not known."""
    chips = (CHIPS[chip] for name, chip in KINDS.items() if kind.startswith(name))
    chip = next(chips, None)
    if chip is None:
        return None
    return {"bfloat16": chip.bfloat16_flops, "float32": chip.float32_flops}[dtype]


def compare(losses: list[float], others: list[float]) -> tuple[float, float]:
    """How far losses are from others, relative to these: the first, and the farthest."""
    apart = [abs(a / b - 1) for a, b in zip(losses, others, strict=True)]
    return apart[0], max(apart)


def pick(parts: Parts, kind: str) -> dict[str, dict]:
    """Parts of one kind, by the rest of their names."""
    return {
        name.partition(" ")[2]: part
        for name, part in parts.items()
        if name.partition(" ")[0] == kind
    }


def list_right(parts: Parts) -> list[str]:
    """Rows of losses and probabilities against the CPU's."""
    losses, rows = pick(parts, "losses"), []
    for name, part in losses.items():
        if "reference" in parts:
            first, farthest = compare(part["losses"], parts["reference"]["losses"])
            within = first <= FIRST_LOSS_TOLERANCE and farthest <= LOSS_TOLERANCE
            within = f"{within} ({FIRST_LOSS_TOLERANCE:g}, then {LOSS_TOLERANCE:g})"
            rows.append(f"| losses, {name} | {first:.1e} | {farthest:.1e} | {within} |")
    if {"float32 1", "float32 20"} <= losses.keys():
        pair = (losses[name]["losses"] for name in ("float32 20", "float32 1"))
        first, farthest = compare(*pair)
        rows.append(f"| a scan against single steps | {first:.1e} | {farthest:.1e} | |")
    for name, part in pick(parts, "prediction").items():
        within = f"{part['largest'] <= PROB_TOLERANCE} ({PROB_TOLERANCE:g})"
        apart = f"{part['mean']:.1e} | {part['largest']:.1e}"
        rows.append(f"| probabilities, {name} | {apart} | {within} |")
    return rows


def list_resumed(parts: Parts) -> list[str]:
    """Rows of each way to ask for the same bits again."""
    resumed, rows = pick(parts, "resumed"), []
    for mode, whole in pick(parts, "whole").items():
        digest = resumed.get(mode, {}).get("digest")
        same = "" if digest is None else digest == whole["digest"]
        rows.append(f"| {mode} | {same} | {whole['ms_per_step']:.1f} |")
    return rows


def list_speed(parts: Parts, folder: Path) -> list[str]:
    """Rows of rates, share of peak, seconds and memory of each net, and PyTorch's."""
    rows = []
    for name, part in pick(parts, "speed").items():
        config, dtype = name.split()
        flops = parts.get(f"flops {config}", {})
        peak = find_peak(part["device"], dtype)
        cells = []
        for what in ("train", "predict"):
            share = ""
            if peak and what in flops:
                share = part[what] * flops[what] / (peak * part["num_devices"])
                share = f"{100 * share:.1f} %"
            cells.append(f"{part[what]:.1f} | {share}")
        memory = (
            part["program_bytes"],
            read_calculated(folder, name),
            part["peak_bytes_in_use"],
        )
        cells += [f"{part['compile_seconds']:.0f}", *map(show_gb, memory)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    for name, part in pick(parts, "torch").items():
        cells = f"{part['train']:.1f} | | | | | | | {show_gb(part['peak_bytes'])}"
        rows.append(f"| PyTorch {name} | {cells} |")
    return rows


def read_calculated(folder: Path, name: str) -> int | None:
    """The peak that --mode=compile has calculated; None where it was not asked.

    Args:
      folder: of the results; the other is compile/CONFIG-DTYPE/compile.json in it.
      name: "CONFIG DTYPE".
    """
    path = folder / "compile" / name.replace(" ", "-") / "compile.json"
    if not path.exists():
        return None
    programs = {row["name"]: row["peak_bytes"] for row in json.loads(path.read_text())}
    return programs.get("train_steps", programs.get("train_step"))


def show_gb(count: int | None) -> str:
    """Bytes as GB; "" for None."""
    return "" if count is None else f"{count / 1e9:.2f}"


def list_host(parts: Parts) -> list[str]:
    """Rows of the host's seconds, calculated from those of a frame."""
    rows = []
    for part in pick(parts, "host").values():
        for what, count in (("evaluation", EVALUATED), ("report", REPORTED)):
            each = part[f"{what}_seconds_per_frame"]
            rows.append(f"| {what} | {1e3 * each:.2f} | {count} | {each * count:.1f} |")
    return rows


def list_dice(parts: Parts) -> list[str]:
    """Rows of a curve."""
    return [
        f"| {p['seconds']:.1f} | {p['step']} | {statistics.mean(p['dice']):.3f} |"
        for part in pick(parts, "dice").values()
        for p in part["points"]
    ]


def describe(parts: Parts) -> list[str]:
    """Devices, versions and days of what was measured; a part may have its own."""
    keys = ("num_devices", "device", "jax", "date")
    found = {
        "{} x {}, jax {}, {}".format(*(part[key] for key in keys))
        for part in parts.values()
        if keys[0] in part
    }
    return sorted(found)


def print_report(results: dict, folder: Path) -> None:
    """Print every table of which a row is there, and what failed."""
    parts = results["parts"]
    tables = {
        "| against the CPU | first or mean | farthest | within |": list_right(parts),
        "| flags | resumed bit for bit | ms a step |": list_resumed(parts),
        "| net | train, img/s | of peak | predict, img/s | of peak | compile, s "
        "| program, GB | --mode=compile, GB | peak in use, GB |": list_speed(
            parts, folder
        ),
        "| on one core of the host | ms a frame | frames | s |": list_host(parts),
        "| training, s | step | Dice |": list_dice(parts),
    }
    print("; ".join(describe(parts)))
    for header, rows in tables.items():
        if rows:
            rule = "| --- " * (header.count("|") - 1) + "|"
            print("", header, rule, *rows, sep="\n")
    for name, reason in results["failures"].items():
        print(f"\nfailed: {name}: {reason}")
