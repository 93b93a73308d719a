"""What a compiled program moves and exchanges, read from its text (XLA's HLO).

Bytes are those of operands and results of all instructions that run, as they lie in the
device's memory: with the padding that a TPU's tiles need, and without what the compiler
keeps in memory on the chip. What an instruction does no more with than to gather or slice
counts as what is taken; what devices exchange counts as its values, wherever it lies. That is an upper bound still, for a GPU's caches are not seen.
Steps in a loop count as often as the loop runs.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all"),
    "collective-permute",
)
# Opcodes that name values and move none.
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while"),
    *("conditional", "call", "after-all", "partition-id", "replica-id"),
}
BITS = re.compile(r"^[a-z]+?(\d+)")
SHAPE = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](?:\{([^{}]*)\})?")
TILE = re.compile(r"T\(([\d,]+)\)")
TAKES = {"gather", "slice", "dynamic-slice"}  # a part of their first operand
CALLED = re.compile(r"calls=%([\w.\-]+)")
BODY = re.compile(r"body=%([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
FRAME = re.compile(r"stack_frame_id=(\d+)")
GROUPS = re.compile(
    r"replica_groups=(\{\{.*?\}\}|\[[\d,]*\]<=\[[\d,]*\](?:T\([\d,]*\))?)"
)


class Instruction(NamedTuple):
    """One instruction of a computation.

    Attributes:
      name: unique in its computation.
      opcode: "fusion", "all-reduce" and so on.
      shapes: text of the result's type, one array or a tuple of them.
      operands: names of what it reads; of a parameter, its number.
      rest: the text behind the operands: attributes and metadata.
    """

    name: str
    opcode: str
    shapes: str
    operands: tuple[str, ...]
    rest: str


class Ran(NamedTuple):
    """An instruction that runs.

    Attributes:
      instruction: itself.
      times: in one call of the program.
      read_bytes: of its operands, each time.
      written_bytes: of its results, each time.
    """

    instruction: Instruction
    times: int
    read_bytes: int
    written_bytes: int

    @property
    def num_bytes(self) -> int:
        """That are moved in one call."""
        return self.times * (self.read_bytes + self.written_bytes)


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      ran: its instructions that move something.
      frames: the source lines of each `stack_frame_id`, innermost first.
    """

    ran: list[Ran]
    frames: dict[int, list[str]]

    @property
    def num_bytes(self) -> int:
        """That are moved in one call."""
        return sum(row.num_bytes for row in self.ran)

    def list_costliest(self, count: int, package: str, steps: int = 1) -> list[dict]:
        """Instructions that move most, with the line of a package that they come from.

        Args:
          count: so many at most.
          package: part of the path of files that may be named, such as "nerve_jax/".
          steps: of a call; bytes are those of one.
        """
        ranked = sorted(self.ran, key=lambda row: -row.num_bytes)
        return [
            {
                "name": row.instruction.name,
                "opcode": row.instruction.opcode,
                "bytes": row.num_bytes / steps,
                "line": self.find_line(row.instruction, package),
            }
            for row in ranked[:count]
        ]

    def find_line(self, instruction: Instruction, package: str) -> str:
        """The innermost line of a package, "ops.py:12"; "" where none is known."""
        found = FRAME.search(instruction.rest)
        lines = self.frames.get(int(found[1]), []) if found else []
        own = (line for line in lines if package in line)
        return next((line[line.index(package) + len(package) :] for line in own), "")

    def list_collectives(self, steps: int = 1) -> list[dict]:
        """What devices exchange in one of the steps of a call, by kind.

        Returns:
          `kind`, `count`, `bytes` on one device (what goes in or what comes out,
          whichever is more), and `groups` of devices as the text has them.
        """
        found: dict[tuple[str, str], list[int]] = {}
        for row in self.ran:
            kind = row.instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                groups = GROUPS.search(row.instruction.rest)
                size = max(row.read_bytes, row.written_bytes)
                sizes = found.setdefault((kind, groups[1] if groups else ""), [0, 0])
                sizes[0] += row.times
                sizes[1] += row.times * size
        return [
            {
                "kind": kind,
                "count": count / steps,
                "bytes": size / steps,
                "groups": groups,
            }
            for (kind, groups), (count, size) in sorted(found.items())
        ]


def read_program(text: str, trips: int = 1) -> Program:
    """Read the text of a compiled program, `compiled.as_text()`.

    Args:
      text: of the program.
      trips: how often loops of the entry run of which the text does not say it, as that
        of TPUs does not. Loops inside others then count once.

    Raises:
      ValueError: there is no entry computation.
    """
    computations, entry = _read_computations(text)
    if not entry:
        raise ValueError("no ENTRY in the text of a compiled program")
    return Program(list(_run(computations, entry, 1, trips)), _read_frames(text))


def count_bytes(shapes: str) -> int:
    """Bytes that arrays, whose type's text is given, take of the device's memory.

    Tokens and opaque values take none, nor does what lies in memory on the chip.
    """
    return sum(
        0 if "S(" in layout else _size(dtype, _pad_to_tiles(lengths, layout))
        for dtype, lengths, layout in _read_arrays(shapes)
    )


def _count_values(shapes: str) -> int:
    """Bytes of the arrays' values alone, wherever they lie."""
    return sum(_size(dtype, lengths) for dtype, lengths, _ in _read_arrays(shapes))


def _read_arrays(shapes: str) -> list[tuple[str, list[int], str]]:
    """Element type, lengths of dimensions and layout of each array in a type's text."""
    return [
        (dtype, [int(size) for size in sizes.split(",") if size], layout)
        for dtype, sizes, layout in SHAPE.findall(shapes)
    ]


def _size(dtype: str, lengths: Sequence[int]) -> int:
    bits = 8 if dtype == "pred" else int((BITS.match(dtype) or [0, 0])[1])
    return -(-bits * math.prod(lengths) // 8)


def _pad_to_tiles(lengths: list[int], layout: str) -> list[int]:
    """Lengths of an array's dimensions, the last ones filled up to whole tiles."""
    tile = TILE.search(layout)
    if not tile:
        return lengths
    order = [int(place) for place in layout.partition(":")[0].split(",") if place]
    padded = list(lengths)
    # The layout names dimensions from the one whose values lie side by side.
    for place, side in zip(order, reversed(tile[1].split(",")), strict=False):
        padded[place] = -(-lengths[place] // int(side)) * int(side)
    return padded


def _read_computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Instructions of every computation by its name, and the name of the entry."""
    computations: dict[str, list[Instruction]] = {}
    entry, own = "", []
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")) and line.endswith("{"):
            name = line.removeprefix("ENTRY ").split()[0].lstrip("%")
            own = computations.setdefault(name, [])
            entry = name if line.startswith("ENTRY") else entry
        elif line.startswith(" ") and " = " in line:
            own.append(_read_instruction(line))
    return computations, entry


def _read_instruction(line: str) -> Instruction:
    name, _, value = line.strip().removeprefix("ROOT ").partition(" = ")
    end = _find_close(value, 0) if value.startswith("(") else value.index(" ") - 1
    shapes, call = value[: end + 1], value[end + 2 :]
    opening = call.index("(")
    closing = _find_close(call, opening)
    inside = call[opening + 1 : closing]
    operands = re.findall(r"%([\w.\-]+)", inside)
    if call[:opening] == "parameter":
        operands = [inside]
    return Instruction(
        name.lstrip("%"), call[:opening], shapes, tuple(operands), call[closing + 1 :]
    )


def _find_close(text: str, opening: int) -> int:
    """Where the bracket closes that opens at `opening`."""
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return place
    raise ValueError(f"a bracket does not close in {text[:80]!r}")


def _run(
    computations: Mapping[str, Sequence[Instruction]],
    name: str,
    times: int,
    unsaid: int = 1,
) -> Iterator[Ran]:
    """What runs of a computation, and of the bodies of its loops."""
    shapes = {i.name: i.shapes for i in computations[name]}
    for instruction in computations[name]:
        if instruction.opcode == "while":
            body, trips = BODY.search(instruction.rest), TRIPS.search(instruction.rest)
            if body:
                inner = times * int(trips[1] if trips else unsaid)
                yield from _run(computations, body[1], inner)
        elif instruction.opcode not in FREE and not _ends_another(instruction):
            operands = [shapes.get(operand, "") for operand in instruction.operands]
            yield Ran(
                instruction, times, *_count_moved(instruction, operands, computations)
            )


def _count_moved(
    instruction: Instruction,
    operands: Sequence[str],
    computations: Mapping[str, Sequence[Instruction]],
) -> tuple[int, int]:
    """Bytes that an instruction reads and writes; `operands` are shapes."""
    if instruction.opcode in ("copy-start", "slice-start"):
        # The result names what is written behind what is read, or before it.
        place = 0 if instruction.opcode == "copy-start" else 1
        dtype, lengths, layout = _read_arrays(instruction.shapes)[place]
        moved = _size(dtype, _pad_to_tiles(lengths, layout))
        return moved if count_bytes(operands[0]) else 0, 0 if "S(" in layout else moved
    if instruction.opcode.removesuffix("-start") in COLLECTIVES:
        read = sum(map(_count_values, operands))
        return read, _count_values(instruction.shapes)
    called = CALLED.search(instruction.rest)
    inside = computations.get(called[1], ()) if called else ()
    read = 0
    for number, shape in enumerate(operands):
        taken = _count_taken(inside, number)
        if instruction.opcode in TAKES and number == 0:
            taken = _count_values(instruction.shapes)
        size = count_bytes(shape)
        read += size if taken is None else min(size, taken)
    return read, count_bytes(instruction.shapes)


def _count_taken(inside: Sequence[Instruction], number: int) -> int | None:
    """Bytes that a fused computation takes of a parameter; None where it reads all."""
    own = next(
        (
            i.name
            for i in inside
            if i.opcode == "parameter" and i.operands[0] == str(number)
        ),
        None,
    )
    users = [i for i in inside if own in i.operands]
    if users and all(i.opcode in TAKES and i.operands[0] == own for i in users):
        return sum(_count_values(i.shapes) for i in users)
    return None


def _ends_another(instruction: Instruction) -> bool:
    """Whether an instruction waits for what another one has started."""
    return instruction.opcode.endswith(("-done", "-update"))


def _read_frames(text: str) -> dict[int, list[str]]:
    """Source lines of each stack frame, "/path/file.py:12", innermost first."""
    files = dict(_read_table(text, "FileNames"))
    places = {
        number: f"{files.get(fields['file_name_id'], '').strip(chr(34))}:{fields['line']}"
        for number, fields in _read_fields(text, "FileLocations")
    }
    parents = dict(_read_fields(text, "StackFrames"))

    def walk(number: int) -> Iterator[str]:
        while number in parents:
            yield places.get(parents[number]["file_location_id"], "")
            # The text counts parents from 1, and 1 stands for none.
            number, child = parents[number].get("parent_frame_id", 1) - 1, number
            if number >= child:
                return

    return {number: list(walk(number)) for number in parents}


def _read_table(text: str, title: str) -> Iterator[tuple[int, str]]:
    """Rows "NUMBER TEXT" below a title, up to the first line that is none."""
    lines = iter(text.splitlines())
    below = itertools.dropwhile(lambda line: line != title, lines)
    next(below, None)
    for line in below:
        number, _, value = line.partition(" ")
        if not number.isdecimal():
            return
        yield int(number), value


def _read_fields(text: str, title: str) -> Iterator[tuple[int, dict[str, int]]]:
    """Rows "NUMBER {name=VALUE …}" below a title."""
    for number, row in _read_table(text, title):
        yield number, {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", row)}
