"""Worker processes with a limit of memory and time, in which files of users are parsed and networks are priced.

In:       questions (`engine.answer`). Out: answers; an error where a worker ran out of time or memory, or died.
Promises: a question that kills its worker costs its own answer alone: another worker takes its place before the next
          question; at most `count` questions run at once, further ones wait for their turn.
Does not: share memory with workers: they are started anew, not forked.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from onchip.app.engine import SMALLER, answer, failure
from onchip.errors import UsageError

Json = dict[str, Any]
MEMORY_BYTES = 6 << 30  # of address space, of which the compiled simulator reserves a gigabyte or two
SECONDS = 60.0


class Worker:
    """One process and the pipe to it."""

    def __init__(self, memory_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, memory_bytes), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    def ask(self, question: Any, uploads: Mapping[str, str], seconds: float) -> Json | None:
        """Return the answer; None where the worker died. Raises TimeoutError."""
        try:
            self._pipe.send((question, dict(uploads)))
            if not self._pipe.poll(seconds):
                raise TimeoutError
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            return None

    def stop(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


class Workers:
    """A few workers; `ask` takes a free one."""

    def __init__(self, count: int = 2, *, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS) -> None:
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._free: list[Worker] = [Worker(memory_bytes) for _ in range(count)]
        self._busy: set[Worker] = set()
        self._lock, self._turn = threading.Lock(), asyncio.Semaphore(count)
        self._is_closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of all workers, for those who watch them."""
        with self._lock:
            return tuple(worker.pid for worker in (*self._free, *self._busy))

    async def ask(self, question: Any, uploads: Mapping[str, str]) -> Json:
        """Return the answer to a question, or an error."""
        async with self._turn:
            return await asyncio.to_thread(self._ask, question, uploads)

    def _ask(self, question: Any, uploads: Mapping[str, str]) -> Json:
        with self._lock:
            worker = self._free.pop()
            self._busy.add(worker)
        made, fact = None, "the worker ended before it had an answer, most likely for want of memory"
        try:
            made = worker.ask(question, uploads, self._seconds)
        except TimeoutError:
            fact = f"the work took more than {self._seconds:.0f} seconds and was stopped"
        with self._lock:
            self._busy.discard(worker)
            if made is None:
                worker.stop()
                worker = worker if self._is_closed else Worker(self._memory_bytes)
            self._free.append(worker)
        return made if made is not None else failure(UsageError("OC1603", "app", fact, next=SMALLER))

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            self._is_closed = True
            for worker in (*self._free, *self._busy):
                worker.stop()


def _serve(pipe: Connection, memory_bytes: int) -> None:
    """Answer questions until the pipe closes. Interrupts of the terminal are the server's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    with contextlib.suppress(EOFError, OSError):
        while True:
            question, uploads = pipe.recv()
            pipe.send(answer(question, uploads))
