"""Vision networks against published figures; the source stands beside each, and how it counts."""

from __future__ import annotations

import pytest

from onchip.passes.fold import fold
from onchip.zoo import tpu_v1
from onchip.zoo.catalog import build
from tests.zoo.counts import agrees, learned, with_statistics

# docs.pytorch.org/vision, table of all classification weights, exact numbers in the models' metadata: parameters
# without running statistics; GFLOPS that are multiply-accumulates of convolutions, linear layers and attention
TORCHVISION: dict[str, tuple[int, str]] = {
    "densenet121": (7_978_856, "2.834 G"),
    "efficientnet-b0": (5_288_548, "0.386 G"),
    "inception_v1": (6_624_904, "1.498 G"),  # googlenet
    "mobilenet_v2": (3_504_872, "0.301 G"),
    "mobilenet_v3_large": (5_483_032, "0.217 G"),
    "mobilenet_v3_small": (2_542_856, "0.057 G"),
    "regnetx-800mf": (7_259_656, "0.80 G"),
    "resnet18": (11_689_512, "1.814 G"),
    "resnet34": (21_797_672, "3.664 G"),
    "resnet50": (25_557_032, "4.089 G"),
    "resnet101": (44_549_160, "7.801 G"),
    "resnet152": (60_192_808, "11.514 G"),
    "resnext50": (25_028_904, "4.23 G"),
    "squeezenet_1_0": (1_248_424, "0.819 G"),
    "squeezenet_1_1": (1_235_496, "0.349 G"),
    "swin_t": (28_288_354, "4.491 G"),
    "vgg16": (138_357_544, "15.47 G"),
    "vgg19": (143_667_240, "19.632 G"),
    "vit_b_16": (86_567_656, "17.564 G"),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_of_torchvision(name: str) -> None:
    parameters, macs = TORCHVISION[name]
    graph = build(name)
    assert learned(graph) == parameters
    assert agrees(graph.bind(batch=1).macs(), macs)
    assert graph.bind(batch=8).macs() == 8 * graph.bind(batch=1).macs()


def test_inception_v3_without_its_auxiliary_classifier() -> None:
    """Torchvision publishes 27,161,264 parameters with it, and 5.713 GFLOPS without."""
    graph = build("inception_v3", batch=1)
    auxiliary = (768 * 128 + 2 * 128) + (25 * 128 * 768 + 2 * 768) + (768 * 1000 + 1000)
    assert learned(graph) + auxiliary == 27_161_264
    assert agrees(graph.macs(), "5.713 G")


def test_deeplabv3_resnet50_without_its_auxiliary_classifier() -> None:
    """Torchvision publishes 42,004,074 parameters and 178.722 GFLOPS (520x520) with it; it works on 65x65 cells."""
    graph = build("deeplabv3_resnet50", batch=1)
    kernels = 9 * 1024 * 256 + 256 * 21
    assert learned(graph) + kernels + 2 * 256 + 21 == 42_004_074
    assert agrees(graph.macs() + 65 * 65 * kernels, "178.722 G")


# keras.io/api/applications, and model.summary(): all parameters, running statistics included
KERAS = {
    "mobilenet_v1": 4_253_864,
    "resnet50_v2": 25_613_800,
    "resnet101_v2": 44_675_560,
    "resnet152_v2": 60_380_648,
    "densenet121": 8_062_504,
}


@pytest.mark.parametrize("name", KERAS)
def test_networks_of_keras(name: str) -> None:
    assert with_statistics(build(name)) == KERAS[name]


def test_resnet50_v2_strides_at_the_end_of_a_stage() -> None:
    """He et al. 2016 and Keras: a stage's last block already makes the smaller map, torchvision's next stage does.

    So three convolutions run on a quarter of the cells: that block's 3x3 and last 1x1, and the next one's first 1x1.
    """
    moved = 0
    for width, cells in ((64, 56 * 56), (128, 28 * 28), (256, 14 * 14)):
        quarter = cells // 4
        last_block = 9 * width * width + 4 * width * width
        next_first = 4 * width * 2 * width
        moved += (last_block + next_first) * (cells - quarter)
    assert build("resnet50", batch=1).macs() - build("resnet50_v2", batch=1).macs() == moved


# Howard et al. 2017, tables 6 and 8: multiply-adds and parameters, at 224x224
MOBILENET_V1 = {
    "mobilenet_v1": ("569 M", "4.2 M"),
    "mobilenet_v1_0.75": ("325 M", "2.6 M"),
    "mobilenet_v1_0.5": ("149 M", "1.3 M"),
    "mobilenet_v1_0.25": ("41 M", "0.5 M"),
}


@pytest.mark.parametrize("name", MOBILENET_V1)
def test_mobilenet_v1_at_the_widths_of_the_paper(name: str) -> None:
    macs, parameters = MOBILENET_V1[name]
    graph = build(name, batch=1)
    assert agrees(graph.macs(), macs) and agrees(learned(graph), parameters)


@pytest.mark.parametrize(("size", "macs"), [(192, 418e6), (160, 290e6), (128, 186e6)])
def test_mobilenet_v1_at_the_resolutions_of_the_paper(size: int, macs: float) -> None:
    """Howard et al. 2017, table 7, which cuts 290.7 to 290."""
    assert build("mobilenet_v1", batch=1, image_size=size).macs() == pytest.approx(macs, rel=3e-3)


# MACs: tensorflow/models, slim/nets/mobilenet/README.md; parameters: timm's benchmark tables (mobilenetv2_*)
MOBILENET_V2 = {
    "mobilenet_v2_1.4": ("582 M", "6.11 M"),
    "mobilenet_v2_0.75": ("209 M", "2.64 M"),
    "mobilenet_v2_0.5": ("97 M", "1.97 M"),
    "mobilenet_v2_0.35": ("59 M", "1.68 M"),
}


@pytest.mark.parametrize("name", MOBILENET_V2)
def test_mobilenet_v2_at_other_widths(name: str) -> None:
    macs, parameters = MOBILENET_V2[name]
    graph = build(name, batch=1)
    assert agrees(graph.macs(), macs) and agrees(learned(graph), parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"), [("inception_v4", "42.68 M", 12.28), ("deit_t", "5.72 M", 1.26)]
)
def test_networks_of_timm(name: str, parameters: str, gmacs: float) -> None:
    """timm, results/benchmark-infer-*.csv; its GMACs hold normalisation too (ResNet-50: 4.11 for 4.089)."""
    graph = build(name, batch=1)
    assert agrees(learned(graph), parameters)
    assert graph.macs() / 1e9 == pytest.approx(gmacs, rel=0.006)
    assert graph.macs() / 1e9 <= gmacs


def test_alexnet() -> None:
    """Sze et al. 2017, table II: 2.3 M weights and 666 MMAC in convolutions, 58.6 M in the others; 61 M and 724 M.

    Caffe's bvlc_alexnet: 60,965,224 parameters. MACs per convolution: Chen et al. 2017 (Eyeriss), table V, per batch
    of 4 (0.42, 0.90, 0.60, 0.45 and 0.30 G).
    """
    graph = build("alexnet", batch=4)
    assert learned(graph) == 60_965_224
    convolutions = [graph.node_macs(f"conv{i}") for i in range(1, 6)]
    for macs, published in zip(convolutions, ("0.42 G", "0.90 G", "0.60 G", "0.45 G", "0.30 G"), strict=True):
        assert agrees(macs, published)
    assert agrees(sum(convolutions) / 4, "666 M")
    assert agrees(graph.macs() / 4, "724 M")


# mlcommons/tiny, Keras' model.summary(): parameters with running statistics; MACs: Banbury et al. 2021 and the int8
# models' operators (DS-CNN 2.66 M, MobileNet 7.49 M, ResNet 12.5 M, autoencoder 0.264 M)
MLPERF_TINY = {
    "resnet8": (78_666, "12.5 M"),
    "ds_cnn": (24_908, "2.66 M"),
    "vww_mobilenet_v1_0.25": (221_794, "7.49 M"),
    "fc_autoencoder": (269_992, "0.264 M"),
}


@pytest.mark.parametrize("name", MLPERF_TINY)
def test_networks_of_mlperf_tiny(name: str) -> None:
    parameters, macs = MLPERF_TINY[name]
    graph = build(name, batch=1)
    assert with_statistics(graph) == parameters
    assert agrees(graph.macs(), macs)


# Ultralytics' summary of the fused model, at 640x640: batch_norm folded, 2 operations a MAC; yolov5 v7.0, v8.
# YOLOv8n prints 3,151,904 parameters, of which 16 are the fixed mean of its distances (3,151,888 gradients).
YOLO = {
    "yolov5s": (7_225_885, "16.4 G"),
    "yolov5m": (21_172_173, "48.9 G"),
    "yolov8n": (3_151_888, "8.7 G"),
}


@pytest.mark.parametrize("name", YOLO)
def test_yolo(name: str) -> None:
    parameters, flops = YOLO[name]
    graph = fold(build(name, batch=1))
    assert graph.parameters() == parameters
    assert agrees(2 * graph.macs(), flops)


def test_ssd_mobilenet() -> None:
    """Howard et al. 2017, table 13: 6.8 M parameters, 1.2 G; Reddi et al. 2020, table I: 2.47 GOPs; 1,917 anchors."""
    graph = build("ssd-mobilenet", batch=1)
    assert agrees(learned(graph), "6.8 M") and agrees(graph.macs(), "1.2 G") and agrees(2 * graph.macs(), "2.47 G")
    assert graph.tensor("boxes").shape == (1, 1917, 4)


def test_unet() -> None:
    """milesial/Pytorch-UNet with one class: 31,037,633 parameters; MACs by the figure of Ronneberger et al. 2015."""
    graph = build("unet", batch=1, image_size=256, classes=1)
    assert learned(graph) == 31_037_633
    macs, given = 0, 3
    for level, width in enumerate((64, 128, 256, 512, 1024)):
        cells = (256 >> level) ** 2
        macs += 9 * (given * width + width * width) * cells  # down
        if width < 1024:
            macs += 9 * (2 * width * width + width * width) * cells + 2 * width * width * cells  # up, and its 2x2
        given = width
    assert graph.macs() == macs + 64 * 256 * 256


def test_deeplabv3_mobilenet_v2() -> None:
    """Sandler et al. 2018, table 7 (output stride 16, no pyramid): 2.11 M parameters, 2.75 B with the resizing."""
    graph = build("deeplabv3_mobilenet_v2", batch=1)
    assert agrees(learned(graph), "2.11 M")
    assert graph.macs() / 1e9 == pytest.approx(2.75, rel=0.005)


# Jouppi et al. 2017, table 1: fully connected layers, convolutions, poolings, weights, MACs per weight, batch
TPU_V1 = {
    "tpu-v1-mlp0": (5, 0, 0, "20 M", 200, 200),
    "tpu-v1-mlp1": (4, 0, 0, "5 M", 168, 168),
    "tpu-v1-lstm0": (24, 0, 0, "52 M", 64, 64),
    "tpu-v1-lstm1": (37, 0, 0, "34 M", 96, 96),
    "tpu-v1-cnn0": (0, 16, 0, "8 M", 2888, 8),
    "tpu-v1-cnn1": (4, 72, 13, "100 M", 1750, 32),
}


@pytest.mark.parametrize("name", TPU_V1)
def test_networks_of_the_first_tpu(name: str) -> None:
    *layers, weights, intensity, batch = TPU_V1[name]
    graph = build(name, batch=batch)
    assert [sum(n.op == op for n in graph.nodes) for op in ("linear", "conv2d", "max_pool2d")] == layers
    assert agrees(graph.parameters(), str(weights))
    assert round(graph.macs() / graph.parameters()) == intensity
    assert tpu_v1.BATCHES[name] == batch
