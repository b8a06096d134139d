"""A trained network as an ONNX file.

In:       a trained network and a path.
Out:      the file: opset 18, one input `x` with a symbolic batch, weights inside.
Promises: nothing is written but that file; torch's own chatter is kept off the terminal.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any, cast

import torch

from onchip.training.train import TrainedNetwork

OPSET = 18


def export_onnx(network: TrainedNetwork, path: Path) -> None:
    """Write the network to an ONNX file."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # torch.onnx warns about its own internals
        program = cast("Any", torch.onnx).export(
            network.module,
            network.example,
            dynamo=True,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        program.save(str(path), external_data=False)
