"""Networks as Google's own converter and quantizer write them, where litert-torch and ai-edge-quantizer are installed:
int8 and 16x8, every tensor against LiteRT's reference kernels; dynamic range is refused."""

# pyright: basic

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onchip.errors import NotSupported
from onchip.frontends.tflite import read_bytes
from tests.frontends.tflite_models import compare

torch: Any = pytest.importorskip("torch")
litert_torch: Any = pytest.importorskip("litert_torch", reason="the converter litert-torch is not installed")
quantizer: Any = pytest.importorskip("ai_edge_quantizer.quantizer", reason="ai-edge-quantizer is not installed")
pytestmark = pytest.mark.slow


def mobile() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Hardswish(),
        nn.Conv2d(8, 12, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10), nn.Softmax(-1),
    )  # fmt: skip


def transformer() -> Any:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    return torch.nn.Sequential(layer, torch.nn.Linear(16, 4))


def decoder() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2, 1), nn.ConvTranspose2d(8, 4, 2, 2),
        nn.Sigmoid(), nn.Upsample(scale_factor=2), nn.AvgPool2d(2),
    )  # fmt: skip


NETWORKS = {
    "mobile": (mobile, (1, 3, 32, 32)),
    "transformer": (transformer, (1, 6, 16)),
    "decoder": (decoder, (1, 3, 16, 16)),
}


def converted(name: str, folder: Path) -> Path:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    path = folder / f"{name}.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litert_torch.convert(make().eval(), (torch.randn(*shape),)).export(str(path))
    return path


@pytest.mark.parametrize("recipe_name", ["float", "static_wi8_ai8", "static_wi8_ai16", "dynamic_wi8_afp32"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_converted(name: str, recipe_name: str, tmp_path: Path) -> None:
    from ai_edge_quantizer import recipe  # pyright: ignore[reportMissingImports]

    path, rng, shape = converted(name, tmp_path), np.random.default_rng(1), NETWORKS[name][1]
    if recipe_name != "float":
        q = quantizer.Quantizer(str(path))
        q.load_quantization_recipe(getattr(recipe, recipe_name)())
        samples = [{"args_0": rng.normal(size=shape).astype(np.float32)} for _ in range(4)]
        calibration = q.calibrate({"serving_default": samples}) if q.need_calibration else None
        path = tmp_path / "quantized.tflite"
        q.quantize(calibration).export_model(str(path))
    data = path.read_bytes()
    if recipe_name == "dynamic_wi8_afp32":
        with pytest.raises(NotSupported, match="OC1362"):
            read_bytes(data)
        return
    graph = read_bytes(data)
    dtype = next((n.attribute("dtype", "i8") for n in graph.nodes if n.op == "quantize"), "f32")
    feed = rng.normal(size=shape).astype(np.float32)
    if dtype != "f32":
        feed = (
            np.rint(feed * 40).astype(np.int8)
            if dtype == "i8"
            else np.rint(feed * 9000).clip(-32768, 32767).astype(np.int16)
        )
    given = graph.inputs[0]
    absent = [n for n in _pads(data) if n not in {t.name for t in graph.tensors}]
    compare(data, [{given: feed}], atol=1e-4, absent=absent)


def _pads(data: bytes) -> list[str]:
    """Name the results of PAD: these go into the convolution behind them."""
    from tests.frontends.tflite_models import schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    pads = [o for o in graph.operators if model.operatorCodes[o.opcodeIndex].builtinCode == schema.BuiltinOperator.PAD]
    return [graph.tensors[o.outputs[0]].name.decode() for o in pads]
