"""What the operating system tells of the machine at hand: its name, caches and memory.

In:       /sys and /proc of Linux; elsewhere what Python's own modules know.
Out:      a `Desk`. Sizes in bytes, 0 where nobody tells.
Promises: nothing is measured here, and a file that is absent or odd tells nothing.
Sources:  Linux, Documentation/ABI/testing/sysfs-devices-system-cpu (cache/index*).
"""

from __future__ import annotations

import os
import platform
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
CACHES, CPUINFO = "sys/devices/system/cpu/cpu0/cache", "proc/cpuinfo"
MEMINFO, LOAD = "proc/meminfo", "proc/loadavg"


@dataclass(frozen=True, slots=True)
class Desk:
    """The processor's name, the largest cache of one core, the last-level cache, memory and what of it is free."""

    name: str
    private_bytes: int
    last_bytes: int
    memory_bytes: int
    free_bytes: int


def desk(root: Path = Path("/")) -> Desk:
    """Return what is known of this machine."""
    caches = [_cache(path) for path in sorted((root / CACHES).glob("index*"))]
    data = [(level, size, sharers) for level, size, kind, sharers in caches if size and kind != "Instruction"]
    last = max(data, default=(0, 0, 1))
    own = [row for row in data if row[2] <= 2 and (row[0] < last[0] or len(data) == 1)]  # 2: threads of one core
    memory = _table(root / MEMINFO)
    return Desk(
        name=_table(root / CPUINFO).get("model name", platform.processor() or platform.machine() or "processor"),
        private_bytes=max(own, default=(0, 0, 1))[1],
        last_bytes=last[1],
        memory_bytes=_kib(memory.get("MemTotal", "")) or _physical(),
        free_bytes=_kib(memory.get("MemAvailable", "")),
    )


def others(root: Path = Path("/"), samples: int = 10, pause_s: float = 0.02) -> float:
    """Return how many other tasks want a core now, the mean of a few looks; 0 where the system does not tell."""
    seen: list[int] = []
    for _ in range(samples):
        fields = _text(root / LOAD).split()
        running = fields[3].partition("/")[0] if len(fields) > 3 else ""
        seen.append(max(int(running) - 1, 0) if running.isdigit() else 0)
        time.sleep(pause_s)
    return sum(seen) / len(seen)


def _cache(path: Path) -> tuple[int, int, str, int]:
    """Return level, bytes, type, and how many threads share it."""
    text = {name: _text(path / name) for name in ("level", "size", "type", "shared_cpu_list")}
    level = int(text["level"]) if text["level"].isdigit() else 0
    return level, _kib(text["size"]), text["type"], _listed(text["shared_cpu_list"])


def _listed(text: str) -> int:
    """Return how many numbers `0-3,8` lists; 1 for what is no list."""
    total = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            total += (int(last) if last.isdigit() else int(first)) - int(first) + 1
    return max(total, 1)


def _kib(text: str) -> int:
    """Return the bytes of `480 kB`, `2048K` or `32M`; 0 for any other text."""
    match = re.fullmatch(r"(\d{1,12}) ?([kKMG])B?", text.strip())
    return int(match[1]) << {"M": 20, "G": 30}.get(match[2], 10) if match else 0


def _table(path: Path) -> dict[str, str]:
    """Return `key: value` lines, the first of each key."""
    found: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _physical() -> int:
    with suppress(AttributeError, OSError, ValueError):  # no such name outside of POSIX
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
