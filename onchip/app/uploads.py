"""Files of users: streamed to a directory of the app, within a limit of size, gone when the app ends.

In:       chunks of bytes, the name that the user's file had. Out: a name under which questions can use it.
Promises: nothing of a refused upload stays; of the user's name letters, digits and `._-` are kept, so that it is no
          path; at most MOST uploads are kept, the oldest go first.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections.abc import AsyncIterable
from pathlib import Path

from onchip.errors import BadFile
from onchip.units import format_value

SUFFIXES = (".onnx", ".tflite", ".npz", ".csv")
MOST = 8
LARGEST = 128 << 20


class Uploads:
    """The directory and what is in it."""

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest = largest
        self._folder = Path(tempfile.mkdtemp(prefix="onchip-app-"))
        self._numbers = itertools.count(1)
        self.paths: dict[str, str] = {}

    async def take(self, name: str, chunks: AsyncIterable[bytes]) -> str:
        """Store an upload and return its name. Raises BadFile."""
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            raise BadFile("OC1601", name[:80], f"a file of this kind is not read; there are {', '.join(SUFFIXES)}")
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem)[:60].lstrip(".") or "network"
        key, size = f"{next(self._numbers)}/{stem}{suffix}", 0
        path = self._folder / key
        path.parent.mkdir()
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    self.refuse_size(name, size)
                    file.write(chunk)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        self._drop()
        self.paths[key] = str(path)
        return key

    def refuse_size(self, name: str, size: int) -> None:
        """Raise BadFile for an upload of more bytes than allowed."""
        if size > self.largest:
            limit = f"At most {format_value(self.largest, 'B')}"
            raise BadFile("OC1601", name[:80], "the file is too large for the app", limit=limit, next=WAYS_OUT)

    def _drop(self) -> None:
        while len(self.paths) >= MOST:
            oldest = next(iter(self.paths))
            shutil.rmtree(Path(self.paths.pop(oldest)).parent, ignore_errors=True)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self._folder, ignore_errors=True)


WAYS_OUT = "Use the command line, which reads larger ones, or raise --upload"
