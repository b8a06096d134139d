"""The import order: every module imports downwards only, and rooms never import each other.

Read from the source, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "onchip"
ROOMS = frozenset({"frontends", "zoo", "passes", "planner", "forecast", "lowering", "simulator", "reports"})
# layer -> what it may import besides itself
BELOW: dict[str, frozenset[str]] = {}
_ORDER: tuple[frozenset[str], ...] = (
    frozenset({"errors", "error_codes"}),
    frozenset({"units", "files", "fragments"}),
    frozenset({"numerics"}),
    frozenset({"chip"}),
    frozenset({"ops", "isa"}),
    frozenset({"ir"}),
    ROOMS,
    frozenset({"pipeline"}),
    frozenset({"training", "silicon", "codesign", "rtl", "schemas", "app"}),
    frozenset({"cli"}),  # the command line may start everything, nothing imports it
    frozenset({"__main__"}),
)
for _position, _layer in enumerate(_ORDER):
    for _name in _layer:
        BELOW[_name] = frozenset[str]().union(*_ORDER[:_position])
# modules that make one layer together
PARTS = {
    **dict.fromkeys(("chip_checks", "chip_energy", "chip_file", "chip_parts", "chip_scale_sim"), "chip"),
    **dict.fromkeys(
        ("probe", "claims", "explain", "lesson", "precision", "case", "advice", "pages", "insides"), "pipeline"
    ),
}
# `onchip/__init__.py` names all of the public surface and imports it lazily
SURFACE = "__init__"
HEAVY = ("torch", "sklearn", "onnxscript")
MAY_IMPORT_HEAVY = ("training/", "frontends/torch/", "silicon/probe_torch.py")
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def layer_of(module: str) -> str:
    name = module.split("/", maxsplit=1)[0].removesuffix(".py")
    return PARTS.get(name, name)


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module that a file imports, with its line; `from onchip import chip` counts as onchip.chip."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"onchip.{alias.name}" for alias in node.names] if node.module == "onchip" else [node.module or ""]
            found += [(node.lineno, name) for name in names]
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if name.split("/")[0] != "__init__.py"])
def test_a_module_imports_only_downwards(module: str) -> None:
    layer = layer_of(module)
    assert layer in BELOW, f"{module}: a new layer; give it a place in tests/test_layers.py"
    for line, name in imports(PACKAGE / module):
        if not name.startswith("onchip."):
            continue
        target = layer_of(name.split(".")[1])
        if target in {layer, "__version__"}:
            continue
        assert target in BELOW[layer], f"onchip/{module}:{line}: {layer} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_stay_in_their_files(module: str) -> None:
    if module.startswith(MAY_IMPORT_HEAVY):
        return
    for line, name in imports(PACKAGE / module):
        assert name.split(".")[0] not in HEAVY, f"onchip/{module}:{line}: imports {name}"


def test_rooms_have_no_order_among_themselves() -> None:
    for room in ROOMS:
        assert not BELOW[room] & ROOMS


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("onchip", {"numpy", "numba", "onnx", "pydantic", "typer", "rich", "torch"}),
        ("onchip.chip", {"numpy", "numba", "onnx", "typer", "rich", "torch"}),
    ],
)
def test_importing_it_loads_nothing_heavy(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert not loaded & forbidden
