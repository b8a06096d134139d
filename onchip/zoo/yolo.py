"""YOLOv5 (s, m) and YOLOv8 (n) for COCO, up to the last convolutions.

In:       batch (a symbol or a number), image size (a multiple of 32), classes.
Out:      a Graph from `input` [batch, size, size, 3] to the maps at strides 8, 16 and 32. YOLOv5 gives one per stride,
          [batch, h, w, 3 (5 + classes)]; YOLOv8 two, the box distributions [.., 64] and the classes [.., classes].
Promises: names are those of Ultralytics (`model.0.conv`); batch_norm folded, the parameters are the published fused
          ones, for YOLOv8 without the 16 fixed numbers of the distribution's mean.
Does not: draw the post-processing (decoding of boxes, non-maximum suppression), which runs on the host.
Sources:  Jocher et al., ultralytics/yolov5 v7.0, models/yolov5s.yaml; ultralytics/ultralytics v8, yolov8.yaml.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

EPSILON = 1e-3
# name -> depth and width of the blocks, as multiples of YOLOv5l; of YOLOv8l
V5: dict[str, tuple[float, float]] = {"yolov5s": (0.33, 0.50), "yolov5m": (0.67, 0.75)}
V8: dict[str, tuple[float, float]] = {"yolov8n": (0.33, 0.25)}
CHANNELS, ANCHORS, DISTANCES = (64, 128, 256, 512, 1024), 3, 16


def yolov5(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 640,
    classes: int = 80,
) -> Graph:
    """Draw one of V5."""
    depth, width = V5[name]
    c1, c2, c3, c4, c5 = (int(c * width) for c in CHANNELS)
    n1, n2, n3 = (max(1, round(n * depth)) for n in (3, 6, 9))
    sketch = Sketch(name, weights=weights, seed=seed)
    x = _conv(sketch, _input(sketch, batch, image_size), "model.0", c1, 6, stride=2, padding=2)
    x = _c3(sketch, _conv(sketch, x, "model.1", c2, 3, stride=2), "model.2", c2, n1)
    x = fine = _c3(sketch, _conv(sketch, x, "model.3", c3, 3, stride=2), "model.4", c3, n2)
    x = middle = _c3(sketch, _conv(sketch, x, "model.5", c4, 3, stride=2), "model.6", c4, n3)
    x = _c3(sketch, _conv(sketch, x, "model.7", c5, 3, stride=2), "model.8", c5, n1)
    x = first = _conv(sketch, _sppf(sketch, x, "model.9"), "model.10", c4)
    x = _c3(sketch, _join(sketch, _up(sketch, x, "model.11"), middle, "model.12"), "model.13", c4, n1, is_plain=True)
    x = second = _conv(sketch, x, "model.14", c3)
    x = _join(sketch, _up(sketch, x, "model.15"), fine, "model.16")
    maps = [_c3(sketch, x, "model.17", c3, n1, is_plain=True)]
    x = _join(sketch, _conv(sketch, maps[0], "model.18", c3, 3, stride=2), second, "model.19")
    maps.append(_c3(sketch, x, "model.20", c4, n1, is_plain=True))
    x = _join(sketch, _conv(sketch, maps[1], "model.21", c4, 3, stride=2), first, "model.22")
    maps.append(_c3(sketch, x, "model.23", c5, n1, is_plain=True))
    made = ANCHORS * (5 + classes)
    return sketch.finish(*(_last(sketch, x, f"model.24.m.{i}", made) for i, x in enumerate(maps)))


def yolov8(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 640,
    classes: int = 80,
) -> Graph:
    """Draw one of V8."""
    depth, width = V8[name]
    c1, c2, c3, c4, c5 = (int(c * width) for c in CHANNELS)
    n1, n2 = (max(1, round(n * depth)) for n in (3, 6))
    sketch = Sketch(name, weights=weights, seed=seed)
    x = _conv(sketch, _input(sketch, batch, image_size), "model.0", c1, 3, stride=2)
    x = _c2f(sketch, _conv(sketch, x, "model.1", c2, 3, stride=2), "model.2", c2, n1)
    x = fine = _c2f(sketch, _conv(sketch, x, "model.3", c3, 3, stride=2), "model.4", c3, n2)
    x = middle = _c2f(sketch, _conv(sketch, x, "model.5", c4, 3, stride=2), "model.6", c4, n2)
    x = _c2f(sketch, _conv(sketch, x, "model.7", c5, 3, stride=2), "model.8", c5, n1)
    x = coarse = _sppf(sketch, x, "model.9")
    x = _join(sketch, _up(sketch, x, "model.10"), middle, "model.11")
    x = second = _c2f(sketch, x, "model.12", c4, n1, is_plain=True)
    x = _join(sketch, _up(sketch, x, "model.13"), fine, "model.14")
    maps = [_c2f(sketch, x, "model.15", c3, n1, is_plain=True)]
    x = _join(sketch, _conv(sketch, maps[0], "model.16", c3, 3, stride=2), second, "model.17")
    maps.append(_c2f(sketch, x, "model.18", c4, n1, is_plain=True))
    x = _join(sketch, _conv(sketch, maps[1], "model.19", c4, 3, stride=2), coarse, "model.20")
    maps.append(_c2f(sketch, x, "model.21", c5, n1, is_plain=True))
    boxes, kinds = max(16, c3 // 4, 4 * DISTANCES), max(c3, min(classes, 100))
    heads = (("cv2", boxes, 4 * DISTANCES), ("cv3", kinds, classes))
    return sketch.finish(
        *(_head(sketch, x, f"model.22.{end}.{i}", c, made) for i, x in enumerate(maps) for end, c, made in heads)
    )


def _input(sketch: Sketch, batch: Dimension, image_size: int) -> str:
    if image_size < 32 or image_size % 32:
        raise UsageError("OC1003", "@yolo", f"image_size is {image_size}", limit="it has to be a multiple of 32")
    return sketch.input("input", (batch, image_size, image_size, 3))


def _conv(sketch: Sketch, x: str, name: str, made: int, kernel: int = 1, *, stride: int = 1, padding: int = -1) -> str:
    given, pad = sketch.size(x, 3), kernel // 2 if padding < 0 else padding
    return sketch.conv_unit(
        x, name, channels=(given, made), kernel=kernel, stride=stride, padding=pad, eps=EPSILON, activation="silu"
    )  # fmt: skip


def _last(sketch: Sketch, x: str, name: str, made: int) -> str:
    return sketch.conv2d(x, name, channels=(sketch.size(x, 3), made), kernel=1, has_bias=True)


def _head(sketch: Sketch, x: str, name: str, width: int, made: int) -> str:
    x = _conv(sketch, _conv(sketch, x, f"{name}.0", width, 3), f"{name}.1", width, 3)
    return _last(sketch, x, f"{name}.2", made)


def _bottleneck(sketch: Sketch, x: str, name: str, width: int, kernel: int, *, is_plain: bool) -> str:
    y = _conv(sketch, _conv(sketch, x, f"{name}.cv1", width, kernel), f"{name}.cv2", width, 3)
    return y if is_plain else sketch.node("add", (x, y), f"{name}.add")


def _c3(sketch: Sketch, x: str, name: str, made: int, count: int, *, is_plain: bool = False) -> str:
    """Draw YOLOv5's cross-stage block of `count` bottlenecks; plain ones add nothing."""
    y = _conv(sketch, x, f"{name}.cv1", made // 2)
    for i in range(count):
        y = _bottleneck(sketch, y, f"{name}.m.{i}", made // 2, 1, is_plain=is_plain)
    y = _join(sketch, y, _conv(sketch, x, f"{name}.cv2", made // 2), name)
    return _conv(sketch, y, f"{name}.cv3", made)


def _c2f(sketch: Sketch, x: str, name: str, made: int, count: int, *, is_plain: bool = False) -> str:
    """Draw YOLOv8's cross-stage block: every bottleneck's output is kept."""
    half = made // 2
    x = _conv(sketch, x, f"{name}.cv1", made)
    parts = [
        sketch.node("slice", (x,), f"{name}.split{i}", axis=3, start=i * half, stop=(i + 1) * half) for i in range(2)
    ]
    for i in range(count):
        parts.append(_bottleneck(sketch, parts[-1], f"{name}.m.{i}", half, 3, is_plain=is_plain))
    return _conv(sketch, sketch.node("concat", parts, f"{name}.concat", axis=3), f"{name}.cv2", made)


def _sppf(sketch: Sketch, x: str, name: str) -> str:
    """Draw the pyramid: three max poolings of 5x5 in a row, all kept."""
    made = sketch.size(x, 3)
    parts = [_conv(sketch, x, f"{name}.cv1", made // 2)]
    for i in range(3):
        parts.append(sketch.pool("max_pool2d", parts[-1], f"{name}.m{i}", kernel=5, stride=1, padding=2))
    return _conv(sketch, sketch.node("concat", parts, f"{name}.concat", axis=3), f"{name}.cv2", made)


def _up(sketch: Sketch, x: str, name: str) -> str:
    height, width = sketch.size(x, 1), sketch.size(x, 2)
    return sketch.node("resize", (x,), name, sizes=(2 * height, 2 * width), coordinates="asymmetric", nearest="floor")


def _join(sketch: Sketch, x: str, y: str, name: str) -> str:
    return sketch.node("concat", (x, y), f"{name}.concat", axis=3)
