"""The vocabulary that every op shares: shapes, attributes, quantization, and the record `Op`.

In: nothing. Out: `Shape`, `Attributes`, `Quantization`, `Op`, `Refusal`, and the small functions by which shape rules
read dimensions.
Promises: an `Op` is pure. Its shape rule looks at shapes and attributes only, its references at arrays and attributes
only. A dimension is a non-negative integer, or a name ("N", "seq"): a symbol stands for one number that is not known
yet and is equal to itself alone.
Absent optional inputs are `None`, as shape and as array.
A rule that cannot go on raises `Refusal(code, fact, next)`; whoever knows the node's name (ir/graph.py) turns it into
an OnchipError.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from onchip.errors import BadFile

AttributeValue: TypeAlias = int | float | str | bool | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
Dimension: TypeAlias = int | str
Shape: TypeAlias = tuple[Dimension, ...]
Array: TypeAlias = NDArray[Any]
FLOAT_DTYPES = ("f32", "tf32", "f16", "bf16", "fp8")
BITS: dict[str, int] = {
    "f32": 32, "tf32": 32, "f16": 16, "bf16": 16, "fp8": 8,
    "i8": 8, "u8": 8, "i16": 16, "i32": 32, "i64": 64, "bool": 8,
}  # fmt: skip


class Refusal(Exception):
    """Say why an op does not accept these shapes or attributes."""

    def __init__(self, code: str, fact: str, *, next: str = "") -> None:
        super().__init__(fact)
        self.code, self.fact, self.next = code, fact, next


@dataclass(frozen=True, slots=True)
class Quantization:
    """Affine map real = scale * (integer - zero_point); one entry per tensor, or one per index of `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(map(float, self.scale)))
        object.__setattr__(self, "zero_point", tuple(map(int, self.zero_point)))
        if len(self.scale) != len(self.zero_point) or not self.scale:
            raise BadFile("OC1224", "quantization", f"{len(self.scale)} scales, {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise BadFile("OC1224", "quantization", f"{len(self.scale)} scales without an axis")
        if not all(0.0 < s < float("inf") for s in self.scale):
            raise BadFile("OC1224", "quantization", "a scale is not a positive finite number")


class Attributes:
    """Typed reading of a node's attributes over the op's defaults."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, AttributeValue]) -> None:
        self._values = values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def integer(self, key: str) -> int:
        return int(cast("int", self._values[key]))

    def number(self, key: str) -> float:
        return float(cast("float", self._values[key]))

    def flag(self, key: str) -> bool:
        return bool(self._values[key])

    def text(self, key: str) -> str:
        return str(self._values[key])

    def integers(self, key: str) -> tuple[int, ...]:
        return cast("tuple[int, ...]", self._values[key])


Shapes: TypeAlias = Sequence[Shape | None]
Params: TypeAlias = Sequence[Quantization | None]
ShapeRule: TypeAlias = Callable[[Attributes, Shapes], tuple[Shape, ...]]
Reference: TypeAlias = Callable[..., tuple[Array, ...]]
Count: TypeAlias = Callable[[Attributes, Shapes, Shapes], int]


def first_dtype(_attributes: Attributes, dtypes: Sequence[str | None]) -> tuple[str, ...]:
    """Give the output the dtype of the first input."""
    return (dtypes[0] or "f32",)


def no_macs(_attributes: Attributes, _inputs: Shapes, _outputs: Shapes) -> int:
    """Count no multiply-accumulate."""
    return 0


def output_elements(_attributes: Attributes, _inputs: Shapes, outputs: Shapes) -> int:
    """Count one vector operation per output element."""
    return sum(elements(s) for s in outputs)


@dataclass(frozen=True, slots=True)
class Op:
    """One op: what shapes it makes, what it means in floats and in integers, what it costs.

    `inputs` names them in order; those from index `required` on are optional; `variadic` repeats the last one.
    `defaults` holds every optional attribute; `needs` the attributes without a default.
    `integer(attributes, params_in, params_out, *arrays)` is None where no integer meaning exists.
    """

    name: str
    inputs: tuple[str, ...]
    shape: ShapeRule
    reference: Reference
    required: int = -1
    variadic: bool = False
    needs: tuple[str, ...] = ()
    defaults: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    integer: Reference | None = None
    macs: Count = no_macs
    vector_ops: Count = output_elements
    dtypes: Callable[[Attributes, Sequence[str | None]], tuple[str, ...]] = first_dtype
    outputs: tuple[str, ...] = ("y",)

    @property
    def n_required(self) -> int:
        return len(self.inputs) if self.required < 0 else self.required


def elements(shape: Shape | None) -> int:
    """Count the elements of a shape without symbols."""
    if shape is None:
        return 0
    for d in shape:
        if isinstance(d, str):
            raise Refusal("OC1225", f"dimension '{d}' has no number yet", next=f"Bind it: graph.bind({d}=1)")
    return prod(cast("tuple[int, ...]", shape))


def present(shape: Shape | None, name: str) -> Shape:
    """Take the shape of an input that has to be there."""
    if shape is None:
        raise Refusal("OC1311", f"input '{name}' is missing")
    return shape


def ranked(shape: Shape | None, rank: int, name: str) -> Shape:
    """Take a shape of exactly `rank` dimensions."""
    s = present(shape, name)
    if len(s) != rank:
        raise Refusal("OC1312", f"'{name}' has shape {show(s)}, needs {rank} dimensions")
    return s


def number(dimension: Dimension, what: str) -> int:
    """Take a dimension that has to be a number for the rule to go on."""
    if isinstance(dimension, str):
        raise Refusal(
            "OC1313", f"{what} is the symbol '{dimension}'", next=f"Bind it to a number: graph.bind({dimension}=...)"
        )
    return dimension


def same(a: Dimension, b: Dimension, what: str) -> Dimension:
    """Take two dimensions that have to be equal."""
    if a != b:
        raise Refusal("OC1314", f"{what} differ: {a} and {b}")
    return a


def positive(values: Sequence[int], what: str, least: int = 1) -> None:
    """Refuse values below `least`."""
    if any(v < least for v in values):
        raise Refusal("OC1315", f"{what} is {tuple(values)}, each has to be at least {least}")


def broadcast(shapes: Sequence[Shape], what: str = "shapes") -> Shape:
    """Broadcast as NumPy does; a symbol goes with itself and with 1."""
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    rank = max(len(s) for s in shapes)
    out: list[Dimension] = []
    for i in range(-rank, 0):
        dims = {s[i] for s in shapes if len(s) >= -i} - {1}
        if len(dims) > 1:
            raise Refusal("OC1314", f"{what} {' and '.join(map(show, shapes))} do not broadcast")
        out.append(dims.pop() if dims else 1)
    return tuple(out)


def show(shape: Shape) -> str:
    """Write a shape as [N,224,224,3]."""
    return "[" + ",".join(map(str, shape)) + "]"


def axis_of(axis: int, rank: int) -> int:
    """Normalise a possibly negative axis."""
    if not -rank <= axis < rank:
        raise Refusal("OC1316", f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


def f32(array: Array) -> NDArray[np.float32]:
    """View as float32, converting where it has to."""
    return np.asarray(array, dtype=np.float32)
