"""A torch module, captured by torch.export, as a Graph.

In:       a module, an example (a tensor, a tuple of tensors, or a dict of keyword arguments).
Out:      a float Graph. Dimension 0 of the inputs is the symbol `batch` where the module allows it, else the example's.
Promises: one node per operator of the module: LSTM, attention, layer norm and pooling stay whole (the keep-table).
          Names are the module's paths (`layer1.0.conv1`), constants are its parameters under their own names;
          what only depends on constants is computed. The module itself is not changed, nor its mode.
Does not: read pickles (.pt, .pt2); accept an operator that has no entry in ops.py: it is refused with its node.
Sources:  https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

from onchip.errors import NotSupported, OnchipError, UsageError
from onchip.ir.graph import Graph

try:
    import torch
    from torch import Tensor, nn
    from torch.export import Dim, ExportedProgram
except ModuleNotFoundError as error:
    raise UsageError(
        "OC1014", "torch", "reading a torch module needs PyTorch, which is not installed",
        next="Install it: pip install 'onchip[torch]'",
    ) from error  # fmt: skip

from onchip.frontends.torch.attention import exportable_copy
from onchip.frontends.torch.walk import Walk

# kept whole: decomposing them loses what they are (an LSTM is 6 nodes or 327)
KEPT = frozenset(
    (
        "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "batch_norm", "conv1d", "conv2d", "convolution",
        "elu", "gelu", "group_norm", "gru", "hardsigmoid", "hardswish", "hardtanh", "instance_norm", "layer_norm",
        "leaky_relu", "linear", "log_sigmoid", "log_softmax", "logsumexp", "lstm", "matmul", "max_pool2d", "mish",
        "pixel_shuffle", "pixel_unshuffle", "prelu", "reflection_pad1d", "reflection_pad2d", "relu6",
        "replication_pad1d", "replication_pad2d", "rms_norm", "rnn_relu", "rnn_tanh", "roll",
        "scaled_dot_product_attention", "silu", "softmax", "softplus", "tril", "triu", "upsample_bicubic2d",
        "upsample_bilinear2d", "upsample_nearest2d",
    )
)  # fmt: skip
Module = nn.Module
Example = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]


def read_torch(module: nn.Module, example: Example, *, name: str = "", is_dynamic: bool = True) -> Graph:
    """Capture a module and write it as a Graph.

    With `is_dynamic` the batch becomes a symbol; where the module fixes it (or merges it into another dimension), the
    graph has the example's batch as a number.
    """
    label = name or type(module).__name__
    arguments, keywords = _example(example, label)
    twin = exportable_copy(module)
    problem: OnchipError | None = None
    for batched in (_batched_inputs(arguments, keywords), _first_input(arguments, keywords)) if is_dynamic else ():
        program = _export(twin, arguments, keywords, batched)
        if isinstance(program, OnchipError):
            continue
        try:
            return Walk(label, program, twin).graph()
        except NotSupported as refusal:
            if refusal.code != "OC1353":
                raise
            problem = refusal
            break
    program = _export(twin, arguments, keywords, frozenset())
    if isinstance(program, OnchipError):
        raise problem or program
    return Walk(label, program, twin).graph()


def _example(example: Example, label: str) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    if isinstance(example, Tensor):
        return (example,), {}
    given: Any = example
    if isinstance(given, Mapping):
        values = dict(cast("Mapping[str, Tensor]", given))
        if all(isinstance(v, Tensor) for v in cast("Mapping[str, Any]", values).values()):
            return (), values
    elif isinstance(given, (tuple, list)):
        parts = tuple(cast("tuple[Tensor, ...]", given))
        if parts and all(isinstance(v, Tensor) for v in cast("tuple[Any, ...]", parts)):
            return parts, {}
    raise UsageError("OC1257", label, "the example is neither a tensor nor a tuple or dict of tensors")


Key = int | str


def _items(arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> list[tuple[Key, Tensor]]:
    return [*enumerate(arguments), *keywords.items()]


def _batched_inputs(arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> frozenset[Key]:
    """Guess the inputs with a batch: those whose first dimension is that of the first input."""
    items = [(k, t) for k, t in _items(arguments, keywords) if t.dim() > 0]
    return frozenset(k for k, t in items if t.shape[0] == items[0][1].shape[0])


def _first_input(arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> frozenset[Key]:
    return frozenset([next((k for k, t in _items(arguments, keywords) if t.dim() > 0), 0)])


def _export(
    module: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor], batched: frozenset[Key]
) -> ExportedProgram | OnchipError:
    """Export with dimension 0 of the `batched` inputs as one symbol; give the error where that fails."""
    batch = Dim("batch", min=1)

    def example(key: Key, tensor: Tensor) -> Tensor:
        # torch.export takes a size of 1 for a fixed size, so a batch of 1 is doubled
        return torch.cat([tensor, tensor]) if key in batched and tensor.shape[0] == 1 else tensor

    args = tuple(example(i, t) for i, t in enumerate(arguments))
    kwargs = {k: example(k, t) for k, t in keywords.items()}
    dims: dict[Key, dict[int, Any]] = {k: {0: batch} if k in batched else {} for k, _ in _items(args, kwargs)}
    shapes: Any = {k: dims[k] for k in kwargs} if kwargs else tuple(dims[i] for i in range(len(args)))
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes if batched else None)
            return program.run_decompositions(_table())
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return NotSupported("OC1256", type(module).__name__, f"torch.export failed: {first[:200]}")


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep torch.export from warning, logging and printing about its own internals; what it raises is what counts."""
    before = logging.root.manager.disable
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _table() -> dict[Any, Callable[..., Any]]:
    """Give torch's decompositions without those of the operators that stay whole."""
    table = cast("dict[Any, Callable[..., Any]]", torch.export.default_decompositions())
    for operator in list(table):
        space, _, rest = str(operator).partition(".")
        if space == "aten" and rest.split(".")[0] in KEPT:
            del table[operator]
    return table
