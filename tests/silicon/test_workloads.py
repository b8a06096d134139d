"""Workloads as graphs: MACs and compulsory bytes against formulas written by hand, and refusals by reason."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onchip.errors import NotSupported, OnchipError, UnknownName
from onchip.silicon.bounds import work_of
from onchip.silicon.measurements import PUBLIC, read_measurements
from onchip.silicon.workloads import WORKLOADS, draw, work_key


def params(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, _, value in (part.partition("=") for part in text.split(";") if part))


# workload, parameters, dtype, MACs, MACs that no mask hides, compulsory bytes
CASES = [
    ("gemm", "M=5;N=7;K=11", "bf16", 5 * 7 * 11, 5 * 7 * 11, 2 * (5 * 11 + 7 * 11 + 5 * 7)),
    ("gemm", "M=5;N=7;K=11;layout=TN", "fp32", 385, 385, 4 * (55 + 77 + 35)),
    ("gemm", "M=64;N=8;K=16;empty_kernel_us=120.4", "int8", 8192, 8192, 64 * 16 + 8 * 16 + 64 * 8),
    ("bmm", "B=3;M=5;N=7;K=11", "fp32", 3 * 385, 3 * 385, 4 * 3 * (55 + 77 + 35)),
    # 3x5 filters, stride 2x1, padding 1x0: (9 + 2 - 3) // 2 + 1 = 5 rows, 10 - 5 + 1 = 6 columns
    (
        "conv2d", "N=2;C=3;H=9;W=10;K=4;R=3;S=5;stride_h=2;stride_w=1;pad_h=1;pad_w=0", "fp16",
        2 * 5 * 6 * 4 * 3 * 5 * 3, 2 * 5 * 6 * 4 * 3 * 5 * 3, 2 * (2 * 9 * 10 * 3 + 4 * 3 * 5 * 3 + 2 * 5 * 6 * 4),
    ),
    ("conv2d", "N=1;C=8;H=4;W=4;K=8;R=1;S=1;groups=8", "fp32", 128, 128, 4 * (128 + 8 + 128)),
    # 1x1 with stride 2 touches 5 of 9 rows and 5 of 10 columns
    ("conv2d", "N=2;C=3;H=9;W=10;K=4;R=1;S=1;stride_h=2;stride_w=2", "fp32", 2 * 5 * 5 * 12, 2 * 5 * 5 * 12,
     4 * (2 * 5 * 5 * 3 + 12 + 2 * 5 * 5 * 4)),
    # per step and row: gates x hidden x (hidden + 1); x, weights, two biases, y and the last states
    ("lstm", "hidden=8;batch=2;timesteps=3;input_projection=skipped", "fp32", 2 * 3 * 32 * 9, 2 * 3 * 32 * 9,
     4 * (2 * 3 + 32 + 32 * 8 + 64 + 2 * 3 * 8)),
    ("gru", "hidden=8;batch=2;timesteps=3;input_projection=skipped", "fp16", 2 * 3 * 24 * 9, 2 * 3 * 24 * 9,
     2 * (2 * 3 + 24 + 24 * 8 + 48 + 2 * 3 * 8)),
    ("rnn", "hidden=8;batch=2;timesteps=3", "fp16", 2 * 3 * 8 * 16, 2 * 3 * 8 * 16,
     2 * (2 * 3 * 8 + 64 + 64 + 16 + 2 * 3 * 8)),
    # two products of q_len x kv_len x head_dim for each of 4 heads; keys and values of 2 heads
    ("attention", "batch=3;heads=4;kv_heads=2;q_len=5;kv_len=7;head_dim=8;causal=0", "bf16",
     3 * 4 * 2 * 5 * 7 * 8, 3 * 4 * 2 * 5 * 7 * 8, 2 * 3 * 8 * (2 * 5 * 4 + 2 * 7 * 2)),
    # causal: rows keep 3, 4, 5, 6, 7 of 7 columns
    ("attention", "batch=1;heads=1;q_len=5;kv_len=7;head_dim=8;causal=1", "bf16", 2 * 35 * 8, 2 * 25 * 8,
     2 * 8 * (2 * 5 + 2 * 7)),
    # causal with fewer keys than rows: 0, 0, 1, 2, 3 of 3 columns
    ("attention", "batch=1;heads=1;q_len=5;kv_len=3;head_dim=8;causal=1", "bf16", 2 * 15 * 8, 2 * 6 * 8,
     2 * 8 * (2 * 5 + 2 * 3)),
    ("softmax", "M=6;N=32", "fp16", 0, 0, 2 * 2 * 6 * 32),
    ("layernorm", "M=6;N=32", "fp32", 0, 0, 4 * (2 * 6 * 32 + 2 * 32)),
    ("rmsnorm", "M=6;N=32", "fp32", 0, 0, 4 * (2 * 6 * 32 + 32)),
    ("gelu", "n=1000", "fp16", 0, 0, 2 * 2 * 1000),
    ("relu", "n=7919", "fp32", 0, 0, 4 * 2 * 7919),
    ("add", "n=4096", "fp32", 0, 0, 4 * 3 * 4096),
    ("mul", "n=4096", "int8", 0, 0, 3 * 4096),
]  # fmt: skip


@pytest.mark.parametrize(
    ("workload", "text", "dtype", "macs", "needed", "n_bytes"), CASES, ids=lambda value: str(value)[:40]
)
def test_macs_and_bytes_are_those_of_the_formula(
    workload: str, text: str, dtype: str, macs: int, needed: int, n_bytes: int
) -> None:
    work = work_of(draw(workload, params(text)), dtype)
    assert (work.macs, work.needed_macs, work.bytes) == (macs, needed, n_bytes)


def test_every_kind_of_workload_has_a_case() -> None:
    kinds = {rule.draw.__qualname__ for rule in WORKLOADS.values()}
    assert {WORKLOADS[case[0]].draw.__qualname__ for case in CASES} == kinds


def test_layouts_are_transposes_at_the_edges() -> None:
    stored = {
        layout: [draw("gemm", params(f"M=5;N=7;K=11;layout={layout}")).tensor(name).shape for name in "ab"]
        for layout in ("NN", "NT", "TN", "TT")
    }
    assert stored == {
        "NN": [(5, 11), (11, 7)], "NT": [(5, 11), (7, 11)], "TN": [(11, 5), (11, 7)], "TT": [(11, 5), (7, 11)],
    }  # fmt: skip


def test_elementwise_operations_are_rows_of_up_to_1024() -> None:
    assert draw("relu", params("n=4096")).tensor("x").shape == (4, 1024)
    assert draw("relu", params("n=1500")).tensor("x").shape == (2, 750)
    assert draw("add", params("n=7")).tensor("y").shape == (1, 7)


def test_networks_have_the_size_of_their_row() -> None:
    assert draw("network", params("name=resnet50;batch=4;input=3x224x224")).tensor("input").shape == (4, 224, 224, 3)
    assert draw("network", params("name=resnet50_v2;batch=1;input=3x299x299")).tensor("input").shape[1:3] == (299, 299)
    assert draw("network", params("name=yolov5s;batch=1;input=640")).tensor("input").shape[1:3] == (640, 640)
    assert draw("network", params("name=fc_autoencoder;batch=1;input=640")).tensor("input").shape == (1, 640)
    assert draw("network", params("name=bert-large;batch=2;seq=384")).tensor("input_ids").shape == (2, 384)
    assert draw("network", params("name=tpu-v1-mlp0")).tensor("input").shape[0] == 200, "the published batch"


def test_a_layer_is_cut_out_of_its_network() -> None:
    """Conv2 of AlexNet: two groups of 128 filters 5x5x48 on 27x27 positions (Krizhevsky 2012, section 3.5)."""
    graph = draw("layer", params("network=alexnet;layer=conv2;batch=4;input_zeros_pct=38.7"))
    assert [node.name for node in graph.nodes] == ["conv2"]
    assert work_of(graph, "int16").macs == 4 * 27 * 27 * 256 * 5 * 5 * 48


def test_a_model_file_is_a_network(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="fc", transB=1)
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 4], [0.5] * 12)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    model = helper.make_model(
        helper.make_graph([node], "n", [given], [made], [weights]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    onnx.save(model, tmp_path / "own.onnx")
    for name in (str(tmp_path / "own.onnx"), "own.onnx"):
        graph = draw("network", params(f"name={name};batch=6;input=4"), str(tmp_path))
        assert work_of(graph, "fp32").macs == 6 * 12
    with pytest.raises(NotSupported, match=r"OC1504 has no input 5. Its input is 4"):
        draw("network", params("name=own.onnx;batch=6;input=5"), str(tmp_path))


@pytest.mark.parametrize(
    ("workload", "text", "said"),
    [
        ("conv3d", "N=1", "conv3d: OC1503 no workload is named 'conv3d'. Did you mean 'conv2d'?"),
        ("gemm", "M=1;N=2", "gemm: OC1504 'K' is missing. It needs M, N, K."),
        ("gemm", "M=1;N=2;K=3;batch=4", "gemm: OC1504 has no parameter 'batch'. It has M, N, K, layout."),
        ("gemm", "M=1;N=2;K=3;split=4", "gemm: OC1504 has no parameter 'split'. It has M, N, K, layout."),
        ("gemm", "M=1;N=2;K=3;layout=XX", "gemm: OC1504 layout = 'XX' is unknown. It is NN or NT or TN or TT."),
        ("conv2d", "N=1;C=4;H=4;W=4;K=4;R=1;S=1;groups=3", "conv2d: OC1504 groups = 3 divide C = 4 or K = 4 not."),
        ("network", "batch=1", "network: OC1504 'name' is missing."),
        ("network", "name=resnet5", "@resnet5: OC1002 no network of that name in the zoo."),
        ("network", "name=resnet50;input=1x224x224", "resnet50: OC1504 has no input 1x224x224. Its input is 224x224x3"),
        ("network", "name=resnet50;input=axb", "resnet50: OC1504 has no input axb."),
        ("network", "name=resnet50;seq=128", "@resnet50: OC1003 has no option 'seq'."),
        ("network", "name=resnet50;depth=3", "network: OC1504 has no parameter 'depth'."),
        ("network", "name=os:system", "@os:system: OC1002 no network of that name in the zoo."),
        ("layer", "network=alexnet", "layer: OC1504 'layer' is missing."),
        ("layer", "network=alexnet;layer=conv9", "alexnet: OC1232 no node 'conv9'. Did you mean 'conv5'"),
    ],
)  # fmt: skip
def test_what_a_row_does_not_say_is_refused(workload: str, text: str, said: str) -> None:
    with pytest.raises(OnchipError) as caught:
        draw(workload, params(text))
    assert isinstance(caught.value, (NotSupported, UnknownName)) or caught.value.code == "OC1003"
    assert str(caught.value).startswith(said)


def test_conditions_change_no_work() -> None:
    assert work_key(params("M=1;N=2;empty_kernel_us=3")) == work_key(params("N=2;M=1"))
    assert draw("network", params("name=resnet8;batch=1;runtime=other-one")).nodes


def test_every_public_row_says_what_was_run() -> None:
    refused: dict[str, str] = {}
    for row in {(row.workload, work_key(row.params)): row for row in read_measurements(PUBLIC)}.values():
        try:
            assert work_of(draw(row.workload, row.params), row.dtype).bytes > 0
        except OnchipError as error:
            refused[row.words] = str(error)
    assert not refused
