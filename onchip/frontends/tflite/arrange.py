"""Operators that move values: reshapes, slices, borders, joins, and changes of size.

In:       an operator.
Out:      its node.
Promises: bits are copied, whatever the scales say, as the reference does; RESIZE_BILINEAR mixes them as it does.
          A PAD of zeros waits for a convolution or a pool that takes it over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onchip.frontends.tflite.call import LIMITS, Call
from onchip.frontends.tflite.slicing import slices_of
from onchip.frontends.tflite.tables import matched
from onchip.frontends.tflite.walk import Known, Padded, Value
from onchip.ops.types import AttributeValue

COPIED = ("f32", "i8", "i16", "i32", "i64", "u8", "bool")


def _target(call: Call, given: tuple[int, ...]) -> tuple[int, ...]:
    """Read the shape of a RESHAPE; -1 is what is left."""
    if call.has(1) and isinstance(call.value(1), Known):
        target = call.integers(1, "shape")
    elif call.operator.options is not None and call.operator.options.integers(0):
        target = call.operator.options.integers(0)
    elif call.has(1):
        raise call.refuse("to a shape that is computed from data", code="OC1353")
    else:
        target = call.made().shape
    if any(d == 0 or d < -1 for d in target) or target.count(-1) > 1:
        raise call.contradiction(f"reshapes {list(given)} to {list(target)}")
    return target


def _reshape(call: Call) -> list[Value]:
    call.only(*COPIED)
    return [call.write("reshape", (call.tensor(0),), shape=_target(call, call.shape(0)))]


def _squeeze(call: Call) -> list[Value]:
    call.only(*COPIED)
    shape = call.shape(0)
    options = call.operator.options
    axes = {a % max(1, len(shape)) for a in (options.integers(0) if options is not None else ())}
    axes = axes or {i for i, d in enumerate(shape) if d == 1}
    if any(shape[a] != 1 for a in axes):
        raise call.contradiction(f"squeezes axes {sorted(axes)} of {list(shape)}")
    return [call.write("reshape", (call.tensor(0),), shape=tuple(d for i, d in enumerate(shape) if i not in axes))]


def _expand_dims(call: Call) -> list[Value]:
    call.only(*COPIED)
    shape = call.shape(0)
    axis = axis_in(call, call.integers(1, "axis"), len(shape) + 1)
    return [call.write("reshape", (call.tensor(0),), shape=(*shape[:axis], 1, *shape[axis:]))]


def axis_in(call: Call, axes: Sequence[int], rank: int) -> int:
    """Read one axis."""
    if len(axes) != 1 or not -rank <= axes[0] < rank:
        raise call.contradiction(f"has axis {list(axes)} of {rank} dimensions")
    return axes[0] % rank


def _transpose(call: Call) -> list[Value]:
    call.only(*COPIED)
    rank, perm = len(call.shape(0)), call.integers(1, "permutation")
    if sorted(p % max(1, rank) for p in perm) != list(range(rank)):
        raise call.contradiction(f"permutes {rank} axes as {list(perm)}")
    return [call.write("transpose", (call.tensor(0),), perm=tuple(p % rank for p in perm))]


def _concat(call: Call) -> list[Value]:
    """uint8 parts of other scales go through tables; int8 and int16 parts have to have that of the output."""
    call.only(*COPIED)
    n = len(call.operator.inputs)
    axis = axis_in(call, (call.option(0),), len(call.shape(0)))
    activation = call.activation(1)
    if activation != "none":
        raise call.refuse(f"with the fused activation {activation}")
    parts = [matched(call, i, f"part{i}") for i in range(n)]
    return [call.write("concat", parts, axis=axis)] if n > 1 else [call.write("identity", parts)]


def _pack(call: Call) -> list[Value]:
    call.only(*COPIED)
    shape = call.shape(0)
    axis = axis_in(call, (call.option(1),), len(shape) + 1)
    parts: list[str] = []
    for i in range(len(call.operator.inputs)):
        x = matched(call, i, f"part{i}")
        q = call.walk.sheet.quantization(x)
        target = (*shape[:axis], 1, *shape[axis:])
        parts.append(call.helper("reshape", (x,), f"row{i}", quantization=q, dtype=call.dtype(i), shape=target))
    return [call.write("concat", parts, axis=axis)] if len(parts) > 1 else [call.write("identity", parts)]


def cut(call: Call, x: str, bounds: Sequence[slice], label: str) -> str:
    """Write the slices that change something, one node per axis; the last has the name."""
    sheet = call.walk.sheet
    q, dtype, shape = sheet.quantization(x), sheet.dtype(x), sheet.shape(x)
    work: list[tuple[int, int, int, int]] = []
    for axis, bound in enumerate(bounds):
        start, stop, step = bound.indices(shape[axis])
        if (start, stop, step) != (0, shape[axis], 1):
            work.append((axis, start, stop if stop >= 0 else -shape[axis] - 1, step))
    if not work:
        return sheet.node("identity", (x,), label, quantization=q, out_dtype=dtype)
    for place, (axis, start, stop, step) in enumerate(work):
        own = label if place == len(work) - 1 else f"{label}.axis{axis}"
        x = sheet.node(
            "slice", (x,), own, quantization=q, out_dtype=dtype, axis=axis, start=start, stop=stop, step=step
        )
    return x


def _slice(call: Call) -> list[Value]:
    call.only(*COPIED)
    shape, begin, size = call.shape(0), call.integers(1, "begin"), call.integers(2, "size")
    if not len(begin) == len(size) == len(shape):
        raise call.contradiction(f"has {len(begin)} bounds for {len(shape)} axes")
    bounds: list[slice] = []
    for b, s, d in zip(begin, size, shape, strict=True):
        end = d if s == -1 else b + s
        if not 0 <= b < end <= d:
            raise call.contradiction(f"cuts {b} to {end} out of {d}")
        bounds.append(slice(b, end))
    return [cut(call, call.tensor(0), bounds, call.name)]


def _strided_slice(call: Call) -> list[Value]:
    call.only(*COPIED)
    shape = call.shape(0)
    found = slices_of(call, shape)
    if not any(isinstance(f, int) for f in found):
        return [cut(call, call.tensor(0), [f for f in found if isinstance(f, slice)], call.name)]
    kept = [slice(f, f + 1) if isinstance(f, int) else f for f in found]
    x = cut(call, call.tensor(0), kept, f"{call.made().name or call.kind}.slice")
    gone = {i for i, f in enumerate(found) if isinstance(f, int)}
    target = tuple(d for i, d in enumerate(call.walk.sheet.shape(x)) if i not in gone)
    return [call.write("reshape", (x,), shape=target)]


def _pieces(call: Call, place: int, sizes: Sequence[int], axis: int) -> list[Value]:
    shape, x = call.shape(place), call.tensor(place)
    if sum(sizes) != shape[axis] or len(sizes) != len(call.operator.outputs) or min(sizes) < 1:
        raise call.contradiction(f"splits {shape[axis]} into {list(sizes)[:8]}")
    ends = [int(e) for e in np.cumsum(sizes)]
    made: list[Value] = []
    for i, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        made.append(cut(call, x, [slice(None)] * axis + [slice(end - size, end)], call.label(i)))
    return made


def _split(call: Call) -> list[Value]:
    call.only(*COPIED, place=1)
    n = len(call.operator.outputs)
    axis = axis_in(call, call.integers(0, "axis"), len(call.shape(1)))
    if call.shape(1)[axis] % n:
        raise call.contradiction(f"splits {call.shape(1)[axis]} into {n}")
    return _pieces(call, 1, [call.shape(1)[axis] // n] * n, axis)


def _split_v(call: Call) -> list[Value]:
    call.only(*COPIED)
    axis = axis_in(call, call.integers(2, "axis"), len(call.shape(0)))
    sizes = list(call.integers(1, "sizes"))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = call.shape(0)[axis] - sum(s for s in sizes if s >= 0)
    return _pieces(call, 0, sizes, axis)


def _unpack(call: Call) -> list[Value]:
    call.only(*COPIED)
    shape = call.shape(0)
    axis = axis_in(call, (call.option(1),), len(shape))
    if len(call.operator.outputs) != shape[axis]:
        raise call.contradiction(f"unpacks {shape[axis]} into {len(call.operator.outputs)}")
    made: list[Value] = []
    for i in range(shape[axis]):
        x = call.tensor(0)
        one = cut(call, x, [slice(None)] * axis + [slice(i, i + 1)], f"{call.label(i)}.slice")
        target = (*shape[:axis], *shape[axis + 1 :])
        made.append(call.write("reshape", (one,), place=i, shape=target))
    return made


def _pads(call: Call) -> tuple[tuple[int, int], ...]:
    array = call.known(1, "padding").array
    rank = len(call.shape(0))
    if array.dtype.kind not in "iu" or array.shape != (rank, 2) or (array < 0).any():
        raise call.contradiction(f"pads {rank} axes by {array.dtype} {list(array.shape)}")
    return tuple((int(a), int(b)) for a, b in array)


def _pad(call: Call) -> list[Value]:
    """PAD fills with zero (the zero point), PADV2 with a constant."""
    dtype, pads = call.only("f32", "i8", "i16"), _pads(call)
    call.one_scale()
    if not call.has(2):
        return [Padded(call.tensor(0), pads, call.made(), call.output(0))]
    number = float(call.data(2, "value").reshape(-1)[0])
    if dtype in LIMITS:
        q = call.out_params
        number = (number - q.zero_point[0]) * q.scale[0]
    flat = tuple(n for pair in pads for n in pair)
    return [call.write("pad", (call.tensor(0),), pads=flat, mode="constant", value=number)]


def _mirror_pad(call: Call) -> list[Value]:
    call.only("f32", "i8", "i16")
    call.one_scale()
    flat = tuple(n for pair in _pads(call) for n in pair)
    mode = {0: "reflect", 1: "symmetric"}.get(call.option(0, "b"))
    if mode is None:
        raise call.contradiction(f"has mode {call.option(0, 'b')}")
    return [call.write("pad", (call.tensor(0),), pads=flat, mode=mode)]


def _gather(call: Call) -> list[Value]:
    call.only(*COPIED)
    call.only("i32", "i64", place=1)
    if call.option(1):
        raise call.refuse("with batch dimensions")
    axis = axis_in(call, (call.option(0),), len(call.shape(0)))
    return [call.write("gather", (call.tensor(0), call.tensor(1)), axis=axis)]


def _embedding(call: Call) -> list[Value]:
    """Operands: ids, table."""
    call.only("i32", "i64")
    call.only("f32", "i8", place=1)
    return [call.write("gather", (call.tensor(1), call.tensor(0)), axis=0)]


def _resize(call: Call) -> list[Value]:
    is_nearest = call.kind == "RESIZE_NEAREST_NEIGHBOR"
    first = 0 if is_nearest else 2
    call.only(*(("f32", "i8", "i16") if is_nearest else ("f32", "i8")))
    call.one_scale()
    sizes = call.integers(1, "shape")
    if len(sizes) != 2 or min(sizes) < 1 or len(call.shape(0)) != 4:
        raise call.contradiction(f"resizes {list(call.shape(0))} to {list(sizes)}")
    is_aligned, is_half = call.flag(first), call.flag(first + 1)
    if is_aligned and is_half:
        raise call.contradiction("has aligned corners and half pixels")
    coordinates = "align_corners" if is_aligned else "half_pixel" if is_half else "asymmetric"
    more: dict[str, AttributeValue] = {"rounding": "double"} if call.is_quantized else {}
    if is_nearest:
        more["nearest"] = "floor" if not is_aligned and not is_half else "round_prefer_ceil"
    elif call.is_uint8:
        raise call.refuse("of uint8")
    mode = "nearest" if is_nearest else "bilinear"
    return [call.write("resize", (call.tensor(0),), sizes=sizes, mode=mode, coordinates=coordinates, more=more)]


def _block(call: Call) -> list[Value]:
    call.only(*COPIED)
    call.one_scale()
    op = "depth_to_space" if call.kind == "DEPTH_TO_SPACE" else "space_to_depth"
    return [call.write(op, (call.tensor(0),), block=call.option(0), mode="DCR")]


def _tile(call: Call) -> list[Value]:
    call.only(*COPIED)
    call.one_scale()
    return [call.write("tile", (call.tensor(0),), repeats=call.integers(1, "repeats"))]


def _broadcast_to(call: Call) -> list[Value]:
    call.only(*COPIED)
    call.one_scale()
    return [call.write("broadcast_to", (call.tensor(0),), shape=call.integers(1, "shape"))]


def _reverse(call: Call) -> list[Value]:
    call.only(*COPIED)
    axis = axis_in(call, call.integers(1, "axis"), len(call.shape(0)))
    x = call.tensor(0)
    return [cut(call, x, [slice(None)] * axis + [slice(None, None, -1)], call.name)]


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "RESHAPE": _reshape, "SQUEEZE": _squeeze, "EXPAND_DIMS": _expand_dims, "TRANSPOSE": _transpose,
    "CONCATENATION": _concat, "PACK": _pack, "SLICE": _slice, "STRIDED_SLICE": _strided_slice, "SPLIT": _split,
    "SPLIT_V": _split_v, "UNPACK": _unpack, "PAD": _pad, "PADV2": _pad, "MIRROR_PAD": _mirror_pad, "GATHER": _gather,
    "EMBEDDING_LOOKUP": _embedding, "RESIZE_BILINEAR": _resize, "RESIZE_NEAREST_NEIGHBOR": _resize,
    "DEPTH_TO_SPACE": _block, "SPACE_TO_DEPTH": _block, "TILE": _tile, "BROADCAST_TO": _broadcast_to,
    "REVERSE_V2": _reverse,
}  # fmt: skip
