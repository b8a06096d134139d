"""A Sensitivity for a terminal: the verdict, the next action with its measured gain, and the layers that hurt most.

In:       a Sensitivity, and the words that name the network on a command line.
Out:      plain text; the first line is the verdict, the second the next action.
Promises: every gain that is offered was measured; equal facts stand once; a layer table that is cut says so.
"""

from __future__ import annotations

import textwrap

from onchip.ir.report_text import WIDTH
from onchip.ir.sensitivity import LayerSensitivity, Sensitivity
from onchip.units import DASH, format_value

LAYERS = 12
WORTH_DB = 0.5  # less gain than that is not offered
HEADS = ("layer", "op", "alone", "up to it", "without it", "gain")
NOTE = (
    "SQNR in dB. alone: at the output, only this layer in int8; up to it: at the layer, everything before it in int8; "
    "without it: at the output, this layer in floats; gain: of that"
)


def sensitivity_text(found: Sensitivity, *, words: str, output: str = "", all_layers: bool = False) -> str:
    """Return the whole text; `words` is the model with its options, `output` the file that was written."""
    lines = [verdict(found), next_action(found, words, output), "", *_methods(found)]
    if found.target_db is not None:
        lines += ["", *_int16(found)]
    lines += ["", *_layers(found, all_layers), "", *textwrap.wrap(NOTE, WIDTH, initial_indent="  ")]
    notes = [*found.assumptions, *([f"the int8 network was written to {output}"] if output else [])]
    if notes:
        lines += ["", "assumptions"]
        for text in notes:
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def verdict(found: Sensitivity) -> str:
    """Return one sentence: the precision of the whole network, and who costs most."""
    head = f"{found.network} in int8 ({found.method}): SQNR {_db(found.sqnr_db)} on {found.samples} samples"
    worst = found.ranked[0] if found.ranked else None
    if worst is None or worst.gain_db < WORTH_DB:
        return f"{head}; no layer alone costs more than {WORTH_DB} dB."
    return f"{head}; {worst.name} ({worst.op}) costs most, {_db(worst.gain_db)}."


def next_action(found: Sensitivity, words: str, output: str) -> str:
    """Return the second line: int16 for the target, else a better method, else the worst layer, else the file."""
    own = found.sqnr_db
    if found.target_db is not None and found.raises:
        names = ",".join(step.name for step in found.raises)
        last = found.raises[-1]
        gain = f"{_db(last.sqnr_db)}{'' if found.is_reached else ': less than the target'}"
        return f"Try first:  onchip quantize {words} --int16 {names}   ({gain}{_cost(found, last.added_cycles)})"
    better = [(db - own, method) for method, db in found.methods if db is not None and own is not None]
    gain, method = max(better, default=(0.0, ""))
    if gain >= WORTH_DB:
        return f"Try first:  onchip quantize {words} --method {method}   (+{_db(gain)})"
    worst = found.ranked[0] if found.ranked else None
    if own is not None and worst is not None and worst.gain_db >= WORTH_DB and found.target_db is None:
        target = f"{own + worst.gain_db:.3g}"
        return f"Next:  onchip quantize {words} --target-sqnr {target}   (which layers in int16, and what they cost)"
    if output:
        return f"Next:  onchip run {output} --chip CHIP   (compiled, and checked bit for bit)"
    return f"Next:  onchip quantize {words} -o FILE.npz   (write the int8 network; onchip run takes it)"


def _cost(found: Sensitivity, added: int | None) -> str:
    if added is None or not found.int8_cycles:
        return ""
    return f", at most +{added / found.int8_cycles * 100:.3g} % time on {found.chip}"


def _db(value: float | None) -> str:
    return f"{value:.3g} dB" if value is not None else DASH


def _methods(found: Sensitivity) -> list[str]:
    told = " · ".join(f"{method} {_db(db)}" for method, db in found.methods)
    return [f"  SQNR by method   {told}"]


def _int16(found: Sensitivity) -> list[str]:
    if not found.raises:
        reached = found.is_reached
        return [f"  target {_db(found.target_db)}: {'met in int8' if reached else 'no layer in int16 comes nearer'}"]
    state = "met" if found.is_reached else "not met: other ops have no int16 form, and weights stay int8"
    lines = [
        f"  target {_db(found.target_db)} {state} with int16 activations in {len(found.raises)} layers, one by one"
    ]
    rows = [("layer", "SQNR", "added time")]
    for step in found.raises:
        cycles = format_value(step.added_cycles, "cycles") if step.added_cycles is not None else DASH
        rows.append((step.name, _db(step.sqnr_db), cycles))
    return lines + _table(rows, left={0})


def _layers(found: Sensitivity, all_layers: bool) -> list[str]:
    shown = found.layers if all_layers else found.ranked[:LAYERS]
    lines = _table([HEADS, *(_row(layer) for layer in shown)], left={0, 1})
    rest = len(found.layers) - len(shown)
    return lines + ([f"  and {rest} more that cost less (-v lists all)"] if rest else [])


def _row(layer: LayerSensitivity) -> tuple[str, ...]:
    numbers = (layer.isolated_db, layer.cumulative_db, layer.restored_db)
    return (layer.name, layer.op, *(f"{n:.1f}" if n is not None else DASH for n in numbers), f"{layer.gain_db:+.2f}")


def _table(rows: list[tuple[str, ...]], *, left: set[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
