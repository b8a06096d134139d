"""The vector unit's part of an attention kernel: scores to weights, and what the mix becomes.

In: the loops of the kernel. Out: the VECTOR stream's tree. Integers: requantize whole rows of scores, two-pass softmax,
requantize the mix. Floats: online softmax (Dao 2022, algorithm 1): for each tile of keys the new maximum m', weights
exp(s - m'), and exp(m - m') to rescale sum and mix; the mix is divided by the sum at the end. Values of float programs
are not run yet; an immediate of a float instruction is the bits of a float32.
"""

from __future__ import annotations

from onchip.isa import LOAD, MATRIX, STORE, VECTOR
from onchip.isa.memory import ACC, I8
from onchip.lowering.code import Rows, VectorCode, View, float_bits
from onchip.lowering.context import attributes
from onchip.lowering.heads import Heads
from onchip.lowering.rowwise import HIGHEST, LOWEST, Words, softmax_tile
from onchip.lowering.tree import Expr, Op, Tree, later, nest, put, sync
from onchip.numerics import quantize_multiplier
from onchip.ops.attention import DROPPED, score_factor
from onchip.ops.requantizing import real_multipliers, rounding_of
from onchip.ops.types import Quantization

MASKED = -1e30  # assumed: far below any score, far above the lowest float32
LEAST_TOP = -1e29  # the top of a row of minus infinities: exp of what lies below it is 0, not exp(nan)
TINY = 1e-30  # keeps the sum of a row that keeps nothing from being 0


def lower_vector(h: Heads) -> Tree:
    """Return the VECTOR stream's tree."""
    free = sync(signal=((VECTOR, LOAD),), releases=("query", "mask") if h.masked else ("query",))
    masks = (sync(wait=((LOAD, VECTOR),)),) if h.masked else ()
    weights, mix = _integer(h) if h.is_integer else _float(h)
    tile: Tree = (
        *masks,
        *weights,
        free,
        sync(wait=((STORE, VECTOR),), fills=("output",)),
        sync(wait=((MATRIX, VECTOR),)),
        *mix,
        sync(signal=((VECTOR, STORE),)),
    )
    body = nest(h.loops, tile)
    if not h.is_integer:
        return body
    return (
        sync(wait=((LOAD, VECTOR),)), *_ones(h), *body, sync(signal=((VECTOR, LOAD),), releases=("tables",)),
    )  # fmt: skip


def _words(h: Heads, code: VectorCode, names: list[str]) -> Words:
    return Words(Expr(h.kernel.buffer("scratch").address), code.rows, code, names)


# --- integers ---------------------------------------------------------------------------------------------------------
def _integer(h: Heads) -> tuple[Tree, Tree]:
    code, names = VectorCode(h.rows()), list[str]()
    _scores_to_weights(h, code, _words(h, code, names))
    weights = (sync(wait=((MATRIX, VECTOR),)), *code.ops, sync(signal=((VECTOR, MATRIX),)))
    mix = VectorCode(Rows((1, h.tq, 1), h.dv, h.rows().left))
    _integer_mix(h, mix, names)
    return weights, tuple(mix.ops)


def _ones(h: Heads) -> Tree:
    """Fill the row behind the weights with ones, once."""
    code = VectorCode(Rows((1, 1, 1), h.keys))
    row = View(I8, h.at("weights", 0) + h.tq * h.keys)
    code.lanes("and", row, row, 0)
    code.lanes("add", row, row, 1)
    return tuple(code.ops)


def _scores_to_weights(h: Heads, code: VectorCode, words: Words) -> None:
    scores = code.rows.packed(Expr(h.kernel.buffer("scores").address), ACC, 1)
    weights = code.rows.packed(h.at("weights", 0), h.type, h.size)
    pq, pk = h.context.quantization(h.node.inputs[0]), h.context.quantization(h.node.inputs[1])
    given = attributes(h.node)
    factor, scale = score_factor(given, h.d), given.number("score_scale")
    multiplier, shift = quantize_multiplier(pq.scale[0] * pk.scale[0] * factor / scale)
    code.requantize(
        scores, scores, multiplier=multiplier, shift=shift, zero_out=given.integer("score_zero_point"),
        rounding=rounding_of(given),
    )  # fmt: skip
    mask = code.rows.packed(h.at("mask"), I8, 1) if h.masked else None
    spare = code.rows.packed(Expr(h.kernel.buffer("spare").address), ACC, 1)
    drop = _add_mask(h, code, scores, spare, mask) if mask is not None and h.adds else None
    keep = None if h.adds else mask
    softmax_tile(code, words, scores, weights, (spare, scores), h.at("tables", 0), keep, drop)


def _add_mask(h: Heads, code: VectorCode, scores: View, spare: View, mask: View) -> View:
    """scores += mask at the scores' scale, -128 where the mask drops; returns the mask."""
    given, pm = attributes(h.node), h.context.quantization(h.node.inputs[3])
    scale = Quantization((given.number("score_scale"),), (0,))
    added = mask
    if pm != scale:
        multiplier, shift = quantize_multiplier(float(real_multipliers((pm,), scale)[0]))
        code.requantize(
            spare, mask, multiplier=multiplier, shift=shift, zero_in=pm.zero_point[0], low=LOWEST, high=HIGHEST,
            rounding=rounding_of(given),
        )  # fmt: skip
        added = spare
    code.lanes("add", scores, scores, added)
    code.requantize(scores, scores, multiplier=1 << 30, shift=1)  # times 1, clamped
    code.lanes("gt", spare, mask, DROPPED)
    code.lanes("add", scores, scores, 128)
    code.lanes("mul", scores, scores, spare)
    code.lanes("sub", scores, scores, 128)
    return mask


def _integer_mix(h: Heads, code: VectorCode, names: list[str]) -> None:
    start = Expr(h.kernel.buffer("mixed").address)
    mixed = code.rows.packed(start, ACC, 1)
    output = code.rows.packed(h.at("output"), h.type, h.size)
    total = View(ACC, start + h.tq * h.dv)
    code.lanes("mul", total, total, 128, rows=Rows((1, 1, 1), h.dv))
    code.lanes("add", mixed, mixed, total)
    pv, py = h.context.quantization(h.node.inputs[2]), h.context.quantization(h.node.outputs[0])
    if pv.zero_point[0]:
        words = _words(h, code, names)
        code.reduce("sum", words.row("all"), h.rows().packed(h.at("weights", 0), I8, 1), rows=h.rows())
        words.do("add", "all", "all", 128 * h.keys)
        words.do("mul", "all", "all", -pv.zero_point[0])
        code.lanes("add", mixed, mixed, words.row("all"))
    multiplier, shift = quantize_multiplier(pv.scale[0] / 256 / py.scale[0])
    rounding = str(h.node.attribute("rounding", "single"))
    code.requantize(
        output, mixed, multiplier=multiplier, shift=shift, zero_out=py.zero_point[0], rounding=rounding
    )  # fmt: skip


# --- floats -----------------------------------------------------------------------------------------------------------
def _float(h: Heads) -> tuple[Tree, Tree]:
    names = ["top", "total", "new", "rescale", "part"]
    first, others = _online(h, names, is_first=True), _online(h, names, is_first=False)
    weights: Tree = tuple(put(node, "kt", 0) for node in first)
    if h.key_tiles > 1:
        weights += nest([("kt", h.key_tiles - 1)], later(others, "kt"))
    mix = _mix_code(h)
    words = _words(h, mix, names)
    if h.masked:
        words.do("max", "total", "total", float_bits(TINY))
    words.do("recip", "total", "total")
    mix.lanes("mul", mix.rows.packed(h.at("output"), h.type, h.size), _mixed(h, mix), words.row("total"))
    return weights, tuple(mix.ops)


def _mix_code(h: Heads) -> VectorCode:
    return VectorCode(Rows((1, h.tq, 1), h.dv, h.rows().left))


def _mixed(h: Heads, code: VectorCode) -> View:
    return code.rows.packed(Expr(h.kernel.buffer("mixed").address), ACC, 1)


def _online(h: Heads, names: list[str], *, is_first: bool) -> Tree:
    """One tile of scores to weights; all but the first rescale what the tiles before them left."""
    code = VectorCode(h.rows())
    words, scores = _words(h, code, names), code.rows.packed(h.scores(), ACC, 1)
    code.lanes("mul", scores, scores, float_bits(score_factor(attributes(h.node), h.d)))
    keep = _keep(h, code, scores) if h.masked and not h.adds else None
    if h.adds:
        line = h.keys * h.size
        mask = View(h.type, h.at("mask") + Expr(0, (("kt", h.tk * h.size),)), (h.tq * line, line, line))
        code.lanes("add", scores, scores, mask)
    if is_first:
        code.reduce("max", words.row("top"), scores)
        if h.adds:
            words.do("max", "top", "top", float_bits(LEAST_TOP))
    else:
        code.reduce("max", words.row("new"), scores)
        words.do("max", "new", "new", "top")
        words.do("sub", "rescale", "top", "new")
        words.do("exp", "rescale", "rescale")
        words.do("copy", "top", "new")
    code.lanes("sub", scores, scores, words.row("top"))
    code.lanes("exp", scores, scores, 0)
    if keep is not None:
        code.lanes("mul", scores, scores, keep)
    code.reduce("sum", words.row("total" if is_first else "part"), scores)
    rescale: tuple[Op, ...] = ()
    mix = _mix_code(h)
    if not is_first:
        words.do("mul", "total", "total", "rescale")
        words.do("add", "total", "total", "part")
        mixed = _mixed(h, mix)
        mix.lanes("mul", mixed, mixed, _words(h, mix, names).row("rescale"))
        rescale = (sync(wait=((MATRIX, VECTOR),)),)  # the mix of the tile before
    store = VectorCode(code.rows)
    store.lanes("copy", code.rows.packed(h.at("weights", 0), h.type, h.size), scores, 0)
    return (sync(wait=((MATRIX, VECTOR),)), *code.ops, *rescale, *mix.ops, *store.ops, sync(signal=((VECTOR, MATRIX),)))


def _keep(h: Heads, code: VectorCode, scores: View) -> View:
    """Push masked scores far down: scores += (keep - 1) * 1e30. Returns the tile of the keep-mask."""
    spare = code.rows.packed(Expr(h.kernel.buffer("spare").address), ACC, 1)
    keep = View(I8, h.at("mask") + Expr(0, (("kt", h.tk),)), (h.tq * h.keys, h.keys, h.keys))
    code.lanes("sub", spare, keep, float_bits(1.0))
    code.lanes("mac", scores, spare, float_bits(-MASKED))
    return keep
