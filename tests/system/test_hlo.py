import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from nerve_jax.system import hlo
from tests.samples import mesh_of

TEXT = """HloModule jit_step, is_scheduled=true

FileNames
1 "/somewhere/nerve_jax/training/step.py"
2 "/elsewhere/jax/nn.py"

FunctionNames
1 "step"
2 "relu"

FileLocations
1 {file_name_id=1 function_name_id=1 line=12 end_line=12 column=1 end_column=2}
2 {file_name_id=2 function_name_id=2 line=99 end_line=99 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}

%inside (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %n = f32[8]{0} negate(%p)
}

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[8]{0} get-tuple-element(%state), index=1
  %y = f32[8]{0:T(128)S(1)} fusion(%x), kind=kLoop, calls=%inside, metadata={op_name="a/b" stack_frame_id=2}
  ROOT %t = (s32[], /*index=1*/f32[8]{0}) tuple(%i, %y)
}

%condition (state.1: (s32[], f32[8])) -> pred[] {
  %state.1 = (s32[], f32[8]{0}) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main (a: bf16[2,3], b: f32[8]) -> f32[8] {
  %a = bf16[2,3]{1,0} parameter(0), metadata={op_name="a"}
  %b = f32[8]{0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8]{0}) tuple(%zero, %b)
  %loop = (s32[], f32[8]{0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"},"x":"y"}
  %out = f32[8]{0} get-tuple-element(%loop), index=1
  %sum = (f32[8]{0}, bf16[2,3]{1,0}) all-reduce-start(%out, %a), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%inside
  %done = (f32[8]{0}, bf16[2,3]{1,0}) all-reduce-done(%sum)
  %first = f32[8]{0} get-tuple-element(%done), index=0
  ROOT %copied = f32[8]{0} copy(%first)
}
"""


def test_bytes_are_those_of_operands_and_results_and_loops_count_as_often_as_they_run():
    program = hlo.read_program(TEXT)
    ran = {row.instruction.name: row[1:] for row in program.ran}
    assert ran == {"y": (5, 32, 0), "sum": (1, 44, 44), "copied": (1, 32, 32)}
    assert program.num_bytes == 5 * 32 + 88 + 64


def test_a_loop_whose_count_is_not_said_runs_as_often_as_the_caller_says():
    unsaid = TEXT.replace(', backend_config={"known_trip_count":{"n":"5"},"x":"y"}', "")
    assert hlo.read_program(unsaid, trips=7).ran[0][1:] == (7, 32, 0)
    assert hlo.read_program(unsaid).ran[0].times == 1
    assert hlo.read_program(TEXT, trips=7).ran[0].times == 5


def test_the_costliest_come_with_the_innermost_line_of_the_package():
    program = hlo.read_program(TEXT)
    first, second = program.list_costliest(2, "nerve_jax/", steps=5)
    assert first == {
        "name": "y",
        "opcode": "fusion",
        "bytes": 32.0,
        "line": "training/step.py:12",
    }
    assert (second["name"], second["line"]) == ("sum", "")
    assert program.frames[2] == [
        "/elsewhere/jax/nn.py:99",
        "/somewhere/nerve_jax/training/step.py:12",
    ]


def test_collectives_are_counted_by_kind_and_groups():
    (found,) = hlo.read_program(TEXT).list_collectives(steps=2)
    assert found == {
        "kind": "all-reduce",
        "count": 0.5,
        "bytes": 22.0,
        "groups": "{{0,1},{2,3}}",
    }


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ("f32[]", 4),
        ("pred[7]{0}", 7),
        ("bf16[2,3]{1,0}", 12),
        ("bf16[2,3]{1,0:T(8,128)(2,1)}", 8 * 128 * 2),
        ("bf16[9,129]{0,1:T(8,128)(2,1)}", 128 * 136 * 2),
        ("f32[3]{0:T(128)}", 128 * 4),
        ("bf16[2,3]{1,0:T(8,128)(2,1)S(1)}", 0),
        ("(s32[2], /*index=1*/u8[3])", 11),
        ("s4[3]{0}", 2),
        ("f8e4m3fn[10]", 10),
        ("token[]", 0),
        ("c64[2]", 16),
    ],
)
def test_types_have_a_size(shapes, expected):
    assert hlo.count_bytes(shapes) == expected


TAKES = """HloModule jit_step

%take (p: u8[900,64], q: s32[2]) -> u8[2,64] {
  %q = s32[2]{0} parameter(1)
  %p = u8[900,64]{1,0} parameter(0)
  ROOT %g = u8[2,64]{1,0} gather(%p, %q), offset_dims={1}
}

%all (r: u8[900,64]) -> u8[900,64] {
  %r = u8[900,64]{1,0} parameter(0)
  %s = u8[1,64]{1,0} slice(%r), slice={[0:1], [0:64]}
  ROOT %m = u8[900,64]{1,0} maximum(%r, %s)
}

ENTRY %main (a: u8[900,64], b: s32[2]) -> u8[900,64] {
  %a = u8[900,64]{1,0} parameter(0)
  %b = s32[2]{0} parameter(1)
  %taken = u8[2,64]{1,0} fusion(%a, %b), kind=kLoop, calls=%take
  %cut = u8[3,64]{1,0} slice(%a), slice={[0:3], [0:64]}
  %near = (u8[900,64]{1,0:S(1)}, u8[900,64]{1,0}, u32[]{:S(2)}) copy-start(%a)
  %nearer = u8[900,64]{1,0:S(1)} copy-done(%near)
  %part = ((u8[900,64]{1,0}), u8[4,64]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:4], [0:64]}
  %parted = u8[4,64]{1,0:S(1)} slice-done(%part)
  ROOT %whole = u8[900,64]{1,0} fusion(%nearer), kind=kLoop, calls=%all
}
"""


def test_what_is_taken_in_part_counts_as_that_part_and_what_stays_on_chip_not_at_all():
    ran = {row.instruction.name: row[2:] for row in hlo.read_program(TAKES).ran}
    assert ran == {
        "taken": (2 * 64 + 8, 2 * 64),
        "cut": (3 * 64, 3 * 64),
        "near": (900 * 64, 0),
        "part": (4 * 64, 0),
        "whole": (0, 900 * 64),
    }


def test_a_text_of_something_else_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.read_program("module @jit_f {}")


def test_the_text_of_this_compiler_is_read():
    """Two groups of two devices, each with its own mean; a loop of three products."""
    mesh = mesh_of(4, 2)

    def step(x, w):
        for_each = jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=3)
        return jax.lax.pmean(for_each[0], "batch")

    specs = (PartitionSpec("fold", "batch"), PartitionSpec())
    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=specs,
        out_specs=PartitionSpec("fold"),
        check_vma=False,
    )
    shapes = (jax.ShapeDtypeStruct((4, 32), "f4"), jax.ShapeDtypeStruct((16, 16), "f4"))
    program = hlo.read_program(jax.jit(mapped).lower(*shapes).compile().as_text())
    (found,) = program.list_collectives()
    assert (found["kind"], found["count"], found["bytes"]) == ("all-reduce", 1, 128)
    assert found["groups"] in ("{{0,1},{2,3}}", "[2,2]<=[4]")
    assert program.num_bytes > 3 * 16 * 16 * 4
