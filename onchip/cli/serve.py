"""`app`: start the app and say where it is.

In:       a port, limits. Out: the link on stdout; the server until it is interrupted.
"""

from __future__ import annotations

from onchip.cli.output import show
from onchip.errors import Interrupted
from onchip.units import parse


def app(port: int, *, workers: int, memory: str, upload: str, opens: bool) -> None:
    """Serve the app until it is interrupted. Raises UsageError."""
    from onchip.app.server import serve

    def opened(link: str) -> None:
        show(f"The app is at {link}\nIt runs on this machine only; Ctrl-C ends it.\n")
        if opens:
            import webbrowser

            webbrowser.open(link)

    sizes = [int(parse(text, "B")) for text in (memory, upload)]
    try:
        serve(port, workers=workers, memory_bytes=sizes[0], largest=sizes[1], opened=opened)
    except KeyboardInterrupt:
        raise Interrupted("OC1009", "app", "stopped") from None
