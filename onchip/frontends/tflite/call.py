"""One operator at its place in the walk: what the rules read from it, and how they write its result.

In:       an operator of the file.
Out:      tensors of the sheet.
Promises: an absent operand is ""; an operand that has to be known is; what is written has the name, the type and the
          quantization of the operator's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from onchip.errors import BadFile, NotSupported
from onchip.frontends.tflite.model import OperatorInfo, TensorInfo, contradiction
from onchip.frontends.tflite.schema import ACTIVATIONS
from onchip.frontends.tflite.walk import Known, Padded, Value, Walk, dtype_of, operator_name, params_of
from onchip.ops.requantizing import output_limits
from onchip.ops.types import Array, AttributeValue, Quantization

More = Mapping[str, AttributeValue]
NONE: More = MappingProxyType({})
LIMITS = {"i8": (-128, 127), "i16": (-32768, 32767)}


@dataclass(frozen=True, slots=True)
class Call:
    """An operator and the walk that meets it."""

    walk: Walk
    operator: OperatorInfo

    # --- operands -------------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        return self.operator.kind

    @property
    def name(self) -> str:
        """The name that the tensor of the first output has in the graph."""
        return self.label(0)

    def label(self, place: int) -> str:
        return self.walk.label(self.output(place))

    def output(self, place: int) -> int:
        """Give the index of an output."""
        if place >= len(self.operator.outputs) or self.operator.outputs[place] < 0:
            raise self.contradiction(f"has {len(self.operator.outputs)} outputs")
        return self.operator.outputs[place]

    def has(self, place: int) -> bool:
        return place < len(self.operator.inputs) and self.operator.inputs[place] >= 0

    def index(self, place: int) -> int:
        """Give the index of an input that has to be there."""
        if not self.has(place):
            raise self.contradiction(f"has no input {place}")
        return self.operator.inputs[place]

    def info(self, place: int) -> TensorInfo:
        return self.walk.info(self.index(place))

    def made(self, place: int = 0) -> TensorInfo:
        return self.walk.info(self.output(place))

    def value(self, place: int) -> Value | None:
        return self.walk.values.get(self.index(place))

    def tensor(self, place: int) -> str:
        """Give the tensor of an input, "" where it is absent."""
        return self.walk.tensor(self.index(place)) if self.has(place) else ""

    def known(self, place: int, what: str) -> Known:
        """Give an input that has to be a constant."""
        value = self.value(place)
        if not isinstance(value, Known):
            raise self.refuse(f"its {what} is not a constant", code="OC1353" if what == "shape" else "OC1351")
        return value

    def integers(self, place: int, what: str) -> tuple[int, ...]:
        """Give a short vector of integers that is known."""
        array = self.known(place, what).array
        if array.dtype.kind not in "iu" or array.size > 64:
            raise self.contradiction(f"its {what} is {array.dtype} of {array.size} elements")
        return tuple(int(v) for v in array.reshape(-1))

    def shape(self, place: int) -> tuple[int, ...]:
        """Give the shape of an input."""
        value = self.value(place)
        if isinstance(value, Known):
            return tuple(int(d) for d in value.array.shape)
        if isinstance(value, Padded):
            return value.shape(self.walk.sheet)
        return self.walk.sheet.shape(self.tensor(place))

    def dtype(self, place: int = 0) -> str:
        """Give our dtype of an input."""
        value = self.value(place)
        if isinstance(value, (Known, Padded)):
            return dtype_of(value.info)
        return self.walk.sheet.dtype(self.tensor(place))

    def params(self, place: int) -> Quantization:
        """Give the quantization of an input that has to have one."""
        found = params_of(self.info(place))
        if found is None:
            raise self.contradiction(f"input {place} has no scale")
        return found

    @property
    def out_params(self) -> Quantization:
        found = self.walk.made_params(self.output(0))
        if found is None:
            raise self.contradiction("its output has no scale")
        return found

    @property
    def is_quantized(self) -> bool:
        """Whether the output is int8 (or uint8) or int16 with a scale."""
        return params_of(self.made()) is not None and dtype_of(self.made()) in LIMITS

    @property
    def is_uint8(self) -> bool:
        return self.made().kind == "uint8"

    def option(self, index: int, kind: str = "i", default: int = 0) -> int:
        table = self.operator.options
        return default if table is None else table.integer(index, kind, default)

    def flag(self, index: int, *, default: bool = False) -> bool:
        table = self.operator.options
        return default if table is None else table.flag(index, default=default)

    def real(self, index: int, default: float = 0.0) -> float:
        table = self.operator.options
        return default if table is None else table.real(index, default)

    # --- refusals -------------------------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        return f"{self.walk.where}: {operator_name(self.walk, self.operator)}"

    def refuse(self, fact: str, *, code: str = "OC1351", limit: str = "", next: str = "") -> NotSupported:
        """Make the error that names this operator."""
        return NotSupported(code, self.where, f"{self.kind}: {fact}", limit=limit, next=next)

    def contradiction(self, fact: str) -> BadFile:
        return contradiction(self.where, f"{self.kind} {fact}")

    def only(self, *dtypes: str, place: int = 0) -> str:
        """Refuse an operand, by its type, whose kernel we do not have; give its type."""
        dtype = self.dtype(place)
        kind = self.info(place).kind
        if dtype not in dtypes:
            raise self.refuse(f"of {kind}", limit=f"Read for {', '.join(dtypes)}")
        return dtype

    def one_scale(self) -> None:
        """Refuse to copy bits from one scale to another."""
        if self.is_quantized and self.params(0) != self.out_params:
            raise self.refuse("copies bits between tensors of different scales")

    # --- results --------------------------------------------------------------------------------------------------

    def write(
        self, op: str, inputs: Sequence[str], more: More = NONE, *, name: str = "", place: int = 0,
        quantization: Quantization | None = None, **attributes: AttributeValue,
    ) -> str:  # fmt: skip
        """Write the node that makes an output; its type has to be the file's."""
        info = self.made(place)
        index = self.output(place)
        params = quantization or self.walk.made_params(index)
        own = name or self.label(place)
        given = {**attributes, **more}
        return self.walk.sheet.nodes(op, inputs, own, given, quantizations=(params,), dtypes=(dtype_of(info),))[0]

    def helper(
        self, op: str, inputs: Sequence[str], suffix: str, more: More = NONE, *,
        quantization: Quantization | None = None, dtype: str = "", **attributes: AttributeValue,
    ) -> str:  # fmt: skip
        """Write a node between, called after the output."""
        name = f"{self.made().name or self.kind}.{suffix}"
        given = {**attributes, **more}
        return self.walk.sheet.nodes(op, inputs, name, given, quantizations=(quantization,), dtypes=(dtype,))[0]

    def activation(self, index: int) -> str:
        """Read the fused activation."""
        number = self.option(index, "b")
        name = ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else f"number {number}"
        if name not in ("none", "relu", "relu6", "relu_n1_to_1"):
            raise self.refuse(f"with the fused activation {name}", limit="Read: none, relu, relu6, relu_n1_to_1")
        return name

    def activated(
        self, op: str, inputs: Sequence[str], activation: str, more: More = NONE, **attributes: AttributeValue
    ) -> str:
        """Write an op of ours that carries none, relu or relu6 with the file's activation."""
        if self._carries(activation):
            return self.write(op, inputs, {**attributes, **more, "activation": activation})
        params = self.walk.made_params(self.output(0))
        dtype = dtype_of(self.made())
        given = {**attributes, **more, "activation": "none"}
        inner = self.helper(op, inputs, "unclipped", given, quantization=params, dtype=dtype)
        return self.clipped(inner, activation)

    def _carries(self, activation: str) -> bool:
        """Tell whether our clamp of a fused activation is the reference's."""
        if activation == "relu_n1_to_1":
            return False
        if not self.is_quantized:
            return True
        bits = 8 if dtype_of(self.made()) == "i8" else 16
        return output_limits(activation, self.out_params, bits) == self.limits(activation)

    def limits(self, activation: str) -> tuple[int, int]:
        """Give the clamp of a fused activation (LiteRT CalculateActivationRangeQuantized: float32, halves away)."""
        params = self.out_params
        low, high = LIMITS[dtype_of(self.made())]
        zero, scale = params.zero_point[0], np.float32(params.scale[0])

        def step(value: float) -> int:
            real = np.clip(np.float32(value) / scale, -(2.0**31), 2.0**31)
            return zero + int(np.sign(real) * np.floor(np.abs(real) + np.float32(0.5)))

        if activation in ("relu", "relu6", "relu_0_to_1"):
            low = max(low, step(0.0))
        if activation == "relu6":
            high = min(high, step(6.0))
        if activation == "relu_n1_to_1":
            low = max(low, step(-1.0))
        if activation in ("relu_n1_to_1", "relu_0_to_1"):
            high = min(high, step(1.0))
        return low, high

    def clipped(self, x: str, activation: str) -> str:
        """Write an activation as a clip of its own, between tensors of one quantization."""
        bounds = {"none": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}
        low, high = bounds[activation]
        if self.is_quantized:
            q = self.out_params
            low, high = ((v - q.zero_point[0]) * q.scale[0] for v in self.limits(activation))
        return self.write("clip", (x,), low=float(low), high=float(high))

    def data(self, place: int, what: str) -> Array:
        """Give a known operand's values as the Graph has them."""
        from onchip.frontends.tflite.walk import values_of

        known = self.known(place, what)
        return values_of(known.info, known.array)
