"""Every op there is, by name.

In: the files of this folder. Out: `OPS`, name -> `Op`, and `look_up_op` with a helpful refusal.
Promises: one literal list of files; importing an op registers nothing.
"""

from onchip.errors import NotSupported, did_you_mean
from onchip.ops import (
    attention,
    blend,
    compare,
    conv,
    elementwise,
    gru,
    indexing,
    layout,
    logical,
    lookup,
    matmul,
    norm,
    normalize,
    picture,
    reduce,
    rnn,
    rotary,
    squared,
    svdf,
    transposed,
    unary,
)
from onchip.ops.types import Op

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        *conv.OPS,
        *matmul.OPS,
        *attention.OPS,
        *rnn.OPS,
        *norm.OPS,
        *elementwise.OPS,
        *layout.OPS,
        *logical.OPS,
        *compare.OPS,
        *unary.OPS,
        *reduce.OPS,
        *normalize.OPS,
        *transposed.OPS,
        *picture.OPS,
        *blend.OPS,
        *indexing.OPS,
        *gru.OPS,
        *rotary.OPS,
        *lookup.OPS,
        *squared.OPS,
        *svdf.OPS,
    )
}


def look_up_op(name: str, where: str) -> Op:
    """Give the op of that name, or refuse it by the name of the node that uses it."""
    op = OPS.get(name)
    if op is None:
        raise NotSupported("OC1310", where, f"onchip has no op '{name}'", next=did_you_mean(name, OPS))
    return op
