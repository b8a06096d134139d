"""Our quantizer for torchao: which operators get which observers, so that what comes out is what our chips compute.

In:       a module from torch.export.
Out:      for `prepare_pt2e` (calibration) or `prepare_qat_pt2e` (training): annotations of its operators.
Promises: int8 activations with a zero point, queries and keys of attention without one; weights per output channel in
          [-127, 127]; a relu behind a convolution, linear or sum is one operator with it; operators that copy values
          share the scale of what they read. Constants of sums and products are left to `oc.quantize`.
Does not: annotate LSTM and GRU: torchao has no place inside of them (training/aware.py rounds their weights itself).
Sources:  https://docs.pytorch.org/ao/stable/ (pt2e quantization).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torchao.quantization.pt2e import (
    FakeQuantize,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

WEIGHTED = ("conv1d", "conv2d", "linear")
SUMS = ("add", "add_", "sub", "mul")
WHOLE = ("layer_norm", "gelu", "silu", "mean", "scaled_dot_product_attention", "sigmoid", "tanh", "softmax")
COPIES = ("max_pool2d", "flatten", "view", "reshape", "permute", "transpose", "unsqueeze", "squeeze", "contiguous")
LEAST_SCALE = 2.0**-20


def _spec(observer: Any, *, is_qat: bool, is_symmetric: bool = False, is_weight: bool = False) -> QuantizationSpec:
    low = -127 if is_weight else -128
    options: dict[str, Any] = {"eps": LEAST_SCALE}
    made = FakeQuantize.with_args(observer=observer, **options) if is_qat else observer.with_args(**options)
    scheme = torch.per_tensor_symmetric if is_symmetric else torch.per_tensor_affine
    scheme = torch.per_channel_symmetric if is_weight else scheme
    return QuantizationSpec(
        torch.int8, made, quant_min=low, quant_max=127, qscheme=scheme, ch_axis=0 if is_weight else None
    )


class ChipQuantizer(Quantizer):
    """Annotate what our int8 arithmetic has (docs/arithmetic.md)."""

    def __init__(self, *, is_qat: bool = False) -> None:
        super().__init__()
        activation = MovingAverageMinMaxObserver if is_qat else HistogramObserver
        balanced = MovingAverageMinMaxObserver if is_qat else MinMaxObserver
        self.activation = _spec(activation, is_qat=is_qat)
        self.balanced = _spec(balanced, is_qat=is_qat, is_symmetric=True)
        self.weight = _spec(PerChannelMinMaxObserver, is_qat=is_qat, is_weight=True)

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Annotate every operator of the tables above; called by torchao."""
        for node in model.graph.nodes:
            name = _operator(node)
            if name in WEIGHTED:
                self._write(node, {node.args[0]: self.activation, node.args[1]: self.weight})
            elif name in SUMS or name in WHOLE:
                inputs = [a for a in node.args[:3] if isinstance(a, fx.Node) and a.op == "call_function"]
                inputs = inputs[:1] if name == "layer_norm" else inputs
                spec = self.balanced if name == "scaled_dot_product_attention" else self.activation
                self._write(node, {a: spec if i < 2 else self.activation for i, a in enumerate(inputs)})
        for node in model.graph.nodes:
            source = node.args[0] if node.args else None
            if _operator(node) in COPIES and isinstance(source, fx.Node):
                self._share(node, source)
        return model

    def _write(self, node: fx.Node, inputs: dict[Any, Any]) -> None:
        """Annotate a node; where one relu follows, that has the output."""
        last, users = node, list(node.users)
        if len(users) == 1 and _operator(users[0]) in ("relu", "relu_") and _operator(node) not in WHOLE:
            last = users[0]
            node.meta["quantization_annotation"] = QuantizationAnnotation(input_qspec_map=inputs, _annotated=True)
            inputs = {}
        spec = self.balanced if _is_balanced(last) else self.activation
        last.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map=inputs, output_qspec=spec, _annotated=True
        )

    def _share(self, node: fx.Node, source: fx.Node) -> None:
        if "quantization_annotation" not in source.meta:
            return
        shared = SharedQuantizationSpec((source, node))
        spec = self.balanced if _is_balanced(node) else self.activation
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map={source: spec}, output_qspec=shared, _annotated=True
        )

    def validate(self, model: fx.GraphModule) -> None:
        """Accept every annotation: they are ours."""


def _operator(node: fx.Node) -> str:
    name = str(node.target)
    return name.removeprefix("aten.").split(".")[0] if node.op == "call_function" and name.startswith("aten.") else ""


def _is_balanced(node: fx.Node) -> bool:
    """Tell whether a node makes queries or keys, through operators that copy values."""
    for user in node.users:
        name = _operator(user)
        if name == "scaled_dot_product_attention" and node in user.args[:2]:
            return True
        if name in COPIES and _is_balanced(user):
            return True
    return False
