"""What to do next: changes that were run again and helped, best first.

In:       Reports before and after, `Change`s.
Out:      `Action`s: predicted and verified gain per inference, effort, risk; lines of text, the JSON of panel R3.
Promises: nothing is guessed: a verified gain is the difference of two reports. What does not help is not shown.
          Where the silicon runs the vendor's program, the shown gain is that of its forecast, and our program's, played
          event by event, has to gain as well.
Does not: run anything (`onchip.advice` does).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from onchip.ir.report import Json, Report
from onchip.reports.changes import Change

LEAST_GAIN = 0.02  # below 2 % an action is not worth a line
ENOUGH = 0.9  # of the best batch's gain: the smallest batch that reaches it is shown
How = Literal["simulated", "estimated", "forecast"]


@dataclass(frozen=True, slots=True)
class Action:
    """A change that was run: shares of time and energy per inference, negative is better.

    `how` says what ran: our program event by event, our program by the estimate (the same cycles), or a forecast of the
    vendor's; `program` is then what our program gains, None where it was not run.
    """

    change: Change
    time: float
    energy: float | None
    seconds: float
    joules: float | None
    how: How
    program: float | None = None

    @property
    def helps(self) -> bool:
        return self.time <= -LEAST_GAIN and (self.program is None or self.program < 0)

    @property
    def gain(self) -> str:
        """Return what it changes per inference, as in `−30 % time, −12 % energy`."""
        energy = f", {_percent(self.energy)} energy" if self.energy is not None else ""
        return f"{_percent(self.time)} time{energy}"


def action_of(change: Change, before: Report, after: Report, *, program: float | None = None) -> Action:
    """Return what a change brings, from the reports before and after it."""
    joules = [r.energy_j.value / r.model.batch if r.energy_j is not None else None for r in (before, after)]
    energy = joules[1] / joules[0] - 1 if joules[0] and joules[1] is not None else None
    seconds = after.seconds_per_inference
    return Action(
        change, seconds / before.seconds_per_inference - 1, energy, seconds, joules[1], how(before, after), program
    )


def how(before: Report, after: Report) -> How:
    """Return what the numbers of a pair come from; where one is a forecast, their difference is one."""
    if "silicon" in (before.kind, after.kind):
        return "forecast"
    return "simulated" if after.latency_s.fidelity == "event" else "estimated"


def ranked(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Return the actions that help, by verified gain; of several batches the smallest that gains nearly the most."""
    found = sorted((a for a in actions if a.helps), key=lambda action: (action.time, action.change.options))
    best = next((action for action in found if action.change.kind == "batch"), None)
    if best is None:
        return tuple(found)
    enough = [a for a in found if a.change.kind == "batch" and a.time <= ENOUGH * best.time]
    kept = min(enough, key=lambda action: int(action.change.settings[0][1]))
    return tuple(action for action in found if action.change.kind != "batch" or action is kept)


def action_lines(actions: Sequence[Action], command: str) -> list[str]:
    """Return the actions as lines: what, its gain per inference, what tries it, and in brackets what to know.

    `command` is what the settings are added to; it stands in the first line only, `…` means the same again.
    """
    texts = [action.change.text for action in actions]
    width, gain = max(map(len, texts), default=0), max((len(action.gain) for action in actions), default=0)
    lines: list[str] = []
    for action in actions:
        head, words = ("           ", "…") if lines else ("Try first: ", command)
        notes = [note for note in (action.change.risk, "" if action.how != "forecast" else "forecast") if note]
        note = f"   ({'; '.join(notes)})" if notes else ""
        own = f"{head} {action.change.text:<{width}}  {action.gain:<{gain}}  {words} {action.change.options}{note}"
        lines.append(own)
    return lines


def actions_json(base: Report, actions: Sequence[Action], command: str, *, tried: int) -> Json:
    """Return the object of panel R3, `actions`.

    `base`: time and energy per inference before; `tried`: how many changes were run; `actions`: those that help, by
    verified gain, each with `settings`, `command`, `predicted` and `verified` (shares of time and energy per inference,
    seconds and joules after it, `how` it was run, `program`: our program's gain where the numbers are a forecast).
    """
    joules = base.energy_j.value / base.model.batch if base.energy_j is not None else None
    return {
        "base": {"seconds": base.seconds_per_inference, "joules": joules},
        "tried": tried,
        "least_gain": LEAST_GAIN,
        "actions": [_json(action, command) for action in actions],
    }


def _json(action: Action, command: str) -> Json:
    change = action.change
    return {
        "text": change.text,
        "settings": dict(change.settings),
        "command": f"{command} {change.options}",
        "effort": change.effort,
        "risk": change.risk,
        "predicted": {"time": change.predicted},
        "verified": {
            "time": action.time,
            "energy": action.energy,
            "seconds": action.seconds,
            "joules": action.joules,
            "how": action.how,
            "program": action.program,
        },
    }


def _percent(share: float) -> str:
    points = round(share * 100)
    return f"{points:+d} %".replace("-", "−") if points else "±0 %"
