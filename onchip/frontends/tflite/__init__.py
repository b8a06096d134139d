"""A TFLite file as a Graph.

In:       a path of a .tflite file.
Out:      a Graph, quantized as the file is: int8 and int16 tensors keep scale and zero point, uint8 becomes int8 less
          128. Float at its edges: quantized inputs stand behind `quantize`, outputs before `dequantize`, as our own
          quantizer writes it. Tensors and nodes are called as the file calls its tensors.
Promises: the file is untrusted: limited in size, and read by our own checked reader (flatbuffer.py). Whatever is wrong
          raises an OnchipError. `evaluate` gives what LiteRT's reference kernels give, bit for bit for integers; an
          operator, type or form for which that is not so is refused by name.
Does not: run anything of the file, read other files, or need LiteRT.
Sources:  https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec
"""

from __future__ import annotations

from pathlib import Path

from onchip.errors import BadFile
from onchip.ir.graph import Graph

LIMIT_BYTES = 2 << 30  # a flatbuffer's own limit


def read_tflite(path: str | Path, *, batch: int | None = None) -> Graph:
    """Read a file; `batch` takes the place of a first dimension that the file leaves open.

    Raises BadFile for what is no model, NotSupported for what is not read.
    """
    file = Path(path)
    return read_bytes(_load(file), name=file.stem, where=str(path), batch=batch)


def read_bytes(data: bytes, *, name: str = "model", where: str = "model", batch: int | None = None) -> Graph:
    """Write the bytes of a file as a Graph."""
    from onchip.frontends.tflite.model import contradiction, parse
    from onchip.frontends.tflite.walk import Walk

    try:
        return Walk(parse(data, where), name=name, batch=batch).graph()
    except (ArithmeticError, AssertionError, LookupError, MemoryError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:120]
        raise contradiction(where, f"it cannot be read: {type(error).__name__} {text}") from error


def _load(file: Path) -> bytes:
    where = str(file)
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise BadFile("OC1250", where, "it is not a regular file")
        if size > LIMIT_BYTES:
            raise BadFile("OC1250", where, f"it has {size} bytes", limit=f"At most {LIMIT_BYTES} are read")
        return file.read_bytes()
    except OSError as error:
        raise BadFile("OC1250", where, f"it cannot be read: {error.strerror or error}") from error
