"""A Graph as one .npz file, without pickle: its canonical text and the values of its constants.

In:       a Graph (a quantized one, say); or a path.
Out:      the file, whole or absent; or the Graph, verified by its constructor.
Arrays:   `graph` (UTF-8 JSON: version, hash, text, rows of the constants), `constant0`.. (their bytes).
Promises: as in archive.py, nothing is trusted; the graph's own hash has to agree.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from onchip.errors import BadFile
from onchip.ir.archive import Arrays, Form, constants_of, load_arrays, read_constants, read_graph_text, save_arrays
from onchip.ir.graph import Graph

VERSION = 1
FORM = Form(
    "network",
    "Write it again with onchip quantize -o, or graph.save",
    re.compile(r"(graph|constant\d{1,6})\.npy", re.ASCII),
    {},
)


def save_graph(graph: Graph, path: str | Path) -> None:
    """Write a graph; an interrupted write leaves no file. Raises UsageError where it cannot be written."""
    arrays, rows = constants_of([graph])
    header = {"version": VERSION, "hash": graph.hash, "text": str(graph), "constants": rows}
    arrays["graph"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    save_arrays(path, arrays)


def load_graph(path: str | Path) -> Graph:
    """Read a graph. Raises BadFile for anything that is not one."""
    return load_arrays(path, FORM, _build)


def is_graph_file(path: str | Path) -> bool:
    """Tell whether a file says of itself that it holds a graph, not a program; False where it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "graph.npy" in archive.namelist()
    except Exception:
        return False


def _build(arrays: Arrays) -> Graph:
    header: dict[str, Any] = json.loads(arrays["graph"].tobytes())
    if header["version"] != VERSION:
        raise BadFile("OC1243", "", f"version {header['version']}", limit=f"This onchip reads version {VERSION}")
    graph = read_graph_text(header["text"], read_constants(header["constants"], arrays))
    if graph is None or graph.hash != header["hash"]:
        raise BadFile("OC1242", "graph", "the network is not the one whose hash the file gives")
    return graph
