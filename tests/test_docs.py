"""The documentation is executed: code, outputs, commands, links.

In:       README.md, CONTRIBUTING.md, CHANGELOG.md, docs/**, examples/**.
Promises: the `python` blocks of a page run in order in one namespace; a `text` block right behind one is what it
          prints; the `$ onchip ...` commands of a `console` block print what stands below them, up to a line `…`.
          Every `onchip` command on a page parses, every relative link resolves, generated pages are up to date.
Refresh:  `python -m tests.test_docs --update` writes the outputs, the generated pages and the tables anew.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
)
EXECUTED = (
    "README.md",
    "docs/tour.md",
    "docs/chips.md",
    "docs/learn.md",
    "docs/accuracy.md",
    "docs/measurements.md",
    "docs/scale-sim.md",
)
TRANSLATED = {
    "README.zh-CN.md": "README.md",
    "docs/tour.zh-CN.md": "docs/tour.md",
}  # the same blocks in the same order, other sentences between them
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("docs/*.py"), *ROOT.glob("examples/*.py"))
)  # fmt: skip
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ \t]*$", re.M | re.S)
CUT = "…"
# words about how this repository is worked on have no place in it; the brackets keep the pattern from matching itself
FORBIDDEN = re.compile(r"\b(s[e]ssion|h[e]lper|a[g]ent)s?\b|s[h]ared/|/w[o]rk\b", re.I)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page: its language, its text, and where the text lies."""

    language: str
    text: str
    start: int
    end: int


def blocks(page: str) -> list[Block]:
    return [Block(m[1], m[2], m.start(2), m.end(2)) for m in FENCE.finditer(page)]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# --- executed pages ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What a block should hold, and the block."""

    block: Block
    text: str


def execute(page: str, text: str) -> Iterator[Found]:
    """Run the blocks of a page in order; yield every output block with what it should hold."""
    scope: dict[str, Any] = {"__name__": page}
    all_blocks = blocks(text)
    for number, block in enumerate(all_blocks):
        if block.language == "console":
            yield Found(block, console(block.text))
        if block.language != "python":
            continue
        line = text.count("\n", 0, block.start)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + block.text, page, "exec"), scope)
        after = all_blocks[number + 1] if number + 1 < len(all_blocks) else None
        if after is not None and after.language == "text" and not between(text, block, after):
            yield Found(after, trimmed(printed.getvalue()))
        else:
            assert not printed.getvalue(), f"{page}:{line}: prints, but no text block follows"


def between(text: str, block: Block, after: Block) -> str:
    """Return what stands between two blocks, without their fences."""
    return text[block.end : after.start].removeprefix("```").removesuffix("```text\n").strip()


def trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().split("\n"))


def console(text: str) -> str:
    """Run the `$` lines of a console block; an output that was cut by `…` is cut after as many lines again."""
    out: list[str] = []
    for part in re.split(r"(?m)^(?=\$ )", text):
        if not part:
            continue
        command, _, shown = part.partition("\n")
        words = shlex.split(command.removeprefix("$ "))
        assert words[0] == "onchip", f"not a command of ours: {command}"
        lines = trimmed(run_command(words[1:])).split("\n")[:-1]
        kept = shown.split("\n")
        if CUT in kept:
            lines = [*lines[: kept.index(CUT)], CUT]
        out += [command, *lines, *([""] if shown.endswith("\n\n") else [])]
    return "\n".join(out) + "\n"


def run_command(words: list[str]) -> str:
    from onchip.cli import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run(words)
    assert code == 0, f"onchip {' '.join(words)} ends with {code}"
    return printed.getvalue()


@pytest.mark.parametrize("page", [page for page in EXECUTED if page in PAGES])
def test_a_page_prints_what_it_shows(page: str) -> None:
    for found in execute(page, read(page)):
        assert found.block.text == found.text, f"{page}: run python -m tests.test_docs --update"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs(script: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    run = subprocess.run(
        [sys.executable, str(ROOT / script)], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_a_learner_file_stays_within_its_length() -> None:
    assert read("docs/onchip_in_300_lines.py").count("\n") <= 300


# --- generated pages --------------------------------------------------------------------------------------------------

# page -> the module whose `text()` is its content
GENERATED = {"docs/isa.md": "onchip.isa.page"}


def generated(page: str) -> str:
    make: Callable[[], str] = importlib.import_module(GENERATED[page]).page_text
    return make()


@pytest.mark.parametrize("page", GENERATED)
def test_a_generated_page_is_up_to_date(page: str) -> None:
    assert read(page) == generated(page), f"{page}: run python -m tests.test_docs --update"


def test_the_chip_page_names_every_key_of_a_chip_file() -> None:
    page = read("docs/chips.md")
    missing = [key for key in chip_keys() if f"`{key}`" not in page]
    assert not missing, f"docs/chips.md does not say what these keys mean: {', '.join(missing)}"


def test_the_chip_page_says_which_keys_nothing_reads() -> None:
    """A key marked † is named in no file but those of the chip."""
    page, code = read("docs/chips.md"), set[str]()
    for path in ROOT.glob("onchip/**/*.py"):
        if path.name not in ("chip.py", "chip_checks.py", "chip_file.py", "chip_parts.py"):
            code |= set(re.findall(r"[\w\[\]]+\.\w+", path.read_text(encoding="utf-8")))
    marked = re.findall(r"(?m)^\| (`[^|]*`) † \|", page)
    for key in (key for cell in marked for key in re.findall(r"`([\w.]+)`", cell)):
        section, name = key.split(".")[0], key.split(".")[-1]
        fields = {f"{section}.{name}{unit}" for unit in ("", "_s", "_w", "_bytes_per_s")}
        fields |= {f"array.{name}", f"shared[0].{name}"}
        used = sorted(fields & code)
        assert not used, f"docs/chips.md: {key} is marked unused, but {used[0]} is read"


def test_the_readme_counts_the_catalog() -> None:
    from onchip.chip import Chip

    readme, chips = " ".join(read("README.md").split()), [Chip.load(name) for name in Chip.names()]
    assert f"The catalog has {len(chips)}: " in readme
    unpublished = sum(chip.geometry == "unpublished" for chip in chips)
    assert f"for {unpublished} of them the vendor publishes no array" in readme
    assert f"a catalog of {len(chips)} chips" in read("CHANGELOG.md")


def chip_keys() -> list[str]:
    """Return the dotted keys of the published schema, `DTYPE` standing for every dtype."""
    from onchip.chip import schema
    from onchip.chip_parts import DTYPES

    whole = schema()
    parts: dict[str, Any] = whole["$defs"]
    found: list[str] = []

    def walk(node: dict[str, Any], prefix: str) -> None:
        for key, value in node.get("properties", {}).items():
            name = "DTYPE" if key in DTYPES else key
            options = [value, *value.get("anyOf", []), value.get("items", {})]
            inner = next((parts[o["$ref"].split("/")[-1]] for o in options if "$ref" in o), None)
            dotted = f"{prefix}{name}"
            if inner is not None and "properties" in inner:
                walk(inner, f"{dotted}.")
            elif dotted not in found:
                found.append(dotted)

    walk(parts["Chip"], "")
    return list(dict.fromkeys(found))


# --- commands, links, words -------------------------------------------------------------------------------------------


def commands(text: str) -> list[str]:
    """Return the `onchip` commands of a page: inline code, and the lines of console and sh blocks."""
    lines = [line for b in blocks(text) if b.language in ("console", "sh") for line in b.text.split("\n")]
    inline = re.findall(r"`(onchip [^`]+)`", FENCE.sub("", text))
    starts = [line.removeprefix("$ ").split("  #")[0].strip() for line in lines]
    return [c for c in (*starts, *inline) if c.startswith("onchip ")]


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page: str) -> None:
    import typer

    from onchip.cli.app import app

    group: Any = typer.main.get_command(app)
    for command in commands(read(page)):
        words = shlex.split(command)[1:]
        with group.make_context("onchip", list(words), resilient_parsing=True) as context:
            if words[0].startswith("-"):
                continue
            verb = group.get_command(context, words[0])
            assert verb is not None, f"{page}: {command}: no such verb"
            if len(words) == 1:  # a verb is named, not called
                continue
            try:
                verb.make_context(words[0], list(words[1:]), parent=context).close()
            except typer.Exit:
                continue
            except Exception as error:
                raise AssertionError(f"{page}: {command}: {error}") from error


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    text = FENCE.sub("", read(page))
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", text)
    for target in (a or b for a, b in targets):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        whole = (ROOT / page).parent / path if path else ROOT / page
        assert whole.exists(), f"{page}: {target} leads nowhere"
        if anchor and whole.suffix == ".md":
            assert anchor in anchors(whole.read_text(encoding="utf-8")), f"{page}: no heading for {target}"


def anchors(text: str) -> set[str]:
    heads = re.findall(r"(?m)^#+ (.+)$", FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, *(script for script in SCRIPTS if script.startswith("docs/"))])
def test_words(page: str) -> None:
    for number, line in enumerate(read(page).split("\n"), 1):
        assert not FORBIDDEN.search(line), f"{page}:{number}: {line.strip()}"


@pytest.mark.parametrize("page", PAGES)
def test_paths_of_the_repository_exist(page: str) -> None:
    """`onchip/...`, `tests/...`, `docs/...` in inline code are files or folders that are there."""
    for name in re.findall(r"`((?:onchip|tests|docs|examples|bench)/[\w./-]+)`", FENCE.sub("", read(page))):
        assert (ROOT / name).exists(), f"{page}: {name} is not there"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?m)^([\w-]+):", read("Makefile")))
    for page in PAGES:
        for target in re.findall(r"`make ([\w-]+)", read(page)):
            assert target in targets, f"{page}: make {target}"


# --- refresh ----------------------------------------------------------------------------------------------------------


def refreshed(page: str) -> str:
    """Return a page with its outputs as they are now; as often as lines shift, since blocks keep their places."""
    text = read(page)
    for found in sorted(execute(page, text), key=lambda f: -f.block.start):
        text = text[: found.block.start] + found.text + text[found.block.end :]
    return text


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translation_has_the_blocks_and_headings_of_its_original(page: str) -> None:
    own, original = ((ROOT / name).read_text(encoding="utf-8") for name in (page, TRANSLATED[page]))
    assert own == with_blocks_of(own, original), "python -m tests.test_docs --update"
    heads = [re.findall(r"^#+ ", FENCE.sub("", text), re.M) for text in (own, original)]
    assert heads[0] == heads[1]


def with_blocks_of(page: str, original: str) -> str:
    """Return a page with each fenced block replaced by the original's block of the same number."""
    fences = iter([match[0] for match in FENCE.finditer(original)])
    made = FENCE.sub(lambda _: next(fences), page)
    assert next(fences, None) is None, "the original has more blocks"
    return made


def update() -> None:
    """Write all outputs and generated pages anew."""
    from tests.test_notebooks import refresh

    refresh()
    for page in GENERATED:
        (ROOT / page).write_text(generated(page), encoding="utf-8")
    for page in EXECUTED:
        if (ROOT / page).exists():
            (ROOT / page).write_text(refreshed(page), encoding="utf-8")
    for page, original in TRANSLATED.items():
        texts = [(ROOT / name).read_text(encoding="utf-8") for name in (page, original)]
        (ROOT / page).write_text(with_blocks_of(*texts), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("python -m tests.test_docs --update")
    update()
