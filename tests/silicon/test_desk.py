"""What the operating system tells, read from a made-up /sys and /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from onchip.silicon.desk import desk, others

CACHES = [  # level, type, size, shared_cpu_list
    (1, "Data", "48K", "0,4"), (1, "Instruction", "64K", "0,4"), (2, "Unified", "2048K", "0,4"),
    (3, "Unified", "32M", "0-7"),
]  # fmt: skip


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def machine(root: Path, caches: list[tuple[int, str, str, str]]) -> Path:
    for i, (level, kind, size, shared) in enumerate(caches):
        where = f"sys/devices/system/cpu/cpu0/cache/index{i}"
        for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
            write(root, f"{where}/{name}", f"{text}\n")
    write(root, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nprocessor\t: 1\nmodel name\t: other\n")
    write(root, "proc/meminfo", "MemTotal:       16000 kB\nMemFree:  10 kB\nMemAvailable:    8000 kB\n")
    return root


def test_caches_and_memory_are_read(tmp_path: Path) -> None:
    found = desk(machine(tmp_path, CACHES))
    assert found.name == "Some CPU @ 2 GHz"
    assert (found.private_bytes, found.last_bytes) == (2048 << 10, 32 << 20)
    assert (found.memory_bytes, found.free_bytes) == (16000 << 10, 8000 << 10)


def test_a_last_level_of_one_core_is_not_its_own_cache(tmp_path: Path) -> None:
    found = desk(machine(tmp_path, [(1, "Data", "32K", "0"), (2, "Unified", "1M", "0"), (3, "Unified", "8M", "0")]))
    assert (found.private_bytes, found.last_bytes) == (1 << 20, 8 << 20)


@pytest.mark.parametrize("text", ["", "many", "12 XB"])
def test_odd_files_tell_nothing(tmp_path: Path, text: str) -> None:
    found = desk(machine(tmp_path, [(2, "Unified", text, "0")]))
    assert (found.private_bytes, found.last_bytes) == (0, 0)


def test_an_empty_system_tells_nothing_of_caches(tmp_path: Path) -> None:
    found = desk(tmp_path)
    assert (found.private_bytes, found.last_bytes, found.free_bytes) == (0, 0, 0)
    assert found.name and others(tmp_path, 2, 0.0) == 0.0


def test_other_tasks_are_those_that_run_beside_us(tmp_path: Path) -> None:
    write(tmp_path, "proc/loadavg", "0.50 0.40 0.30 4/146 9628\n")
    assert others(tmp_path, 3, 0.0) == 3.0
