"""The notebooks in examples/ are executed: what they show is what they print today.

Refresh: `python -m tests.test_docs --update` runs them and writes their outputs.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def executed(path: Path) -> Any:
    """Return the notebook as it is after a run from its first cell, without what differs from run to run."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    asyncio.run(nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").async_execute())
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """Return outputs with prints that arrived in pieces as one."""
    made: list[Any] = []
    for output in outputs:
        if made and output.output_type == made[-1].output_type == "stream" and output.name == made[-1].name:
            made[-1].text += output.text
        else:
            made.append(output)
    return made


@pytest.mark.filterwarnings("ignore")  # of the notebook client and its sockets
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_prints(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    with ThreadPoolExecutor(1) as pool:  # a browser of other tests may have a loop running in this thread
        made = pool.submit(executed, path).result()
    assert nbformat.writes(made) + "\n" == path.read_text(encoding="utf-8"), "python -m tests.test_docs --update"


def refresh() -> None:
    """Run the notebooks and write what they print."""
    import nbformat

    for path in NOTEBOOKS:
        path.write_text(nbformat.writes(executed(path)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    refresh()
