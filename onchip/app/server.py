"""The HTTP side of the app: one page, questions, uploads; for this machine and whoever has the token alone.

In:       requests on loopback. Out: the page, JSON answers, files.
Promises: every request needs the token (in the link once, then as a cookie) and names this host, so that neither
          another user of the machine nor a page of another site can ask; an error is JSON with a code; nothing leaves
          the machine: the page's policy allows connections to this server alone.
Does not: parse what users send: that happens in workers.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from onchip.app.engine import failure
from onchip.app.uploads import Uploads
from onchip.app.workers import Workers
from onchip.errors import BadFile, OnchipError, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE = "onchip"
LARGEST_QUESTION = 1 << 20
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Endpoint = Callable[["Request"], Awaitable["Response"]]


def application(workers: Workers, uploads: Uploads, token: str, hosts: frozenset[str]) -> Starlette:
    """Return the application; `hosts` are the values of the Host header that are answered. Raises UsageError."""
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError:
        hint = "pip install 'onchip[app]'"
        raise UsageError("OC1014", "app", "starlette is not installed", next=hint) from None
    site = Site(workers, uploads, token, hosts)
    routes = [
        Route("/", site.guarded(site.page)),
        Route("/app.js", site.guarded(site.asset("app.js", "text/javascript"))),
        Route("/app.css", site.guarded(site.asset("app.css", "text/css"))),
        Route("/ask", site.guarded(site.ask), methods=["POST"]),
        Route("/upload", site.guarded(site.upload), methods=["PUT"]),
        Route("/schema", site.guarded(site.schema)),
        Route("/report", site.guarded(site.report)),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        workers.close()
        uploads.close()

    return Starlette(routes=routes, lifespan=lifespan)


class Site:
    """What the routes share."""

    def __init__(self, workers: Workers, uploads: Uploads, token: str, hosts: frozenset[str]) -> None:
        self._workers, self._uploads, self._token, self._hosts = workers, uploads, token, hosts

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that answers who has the token and asks this host by its name."""

        async def inner(request: Request) -> Response:
            from starlette.responses import RedirectResponse

            if request.headers.get("host", "") not in self._hosts or not self._is_ours(request):
                text = "Open the link that `onchip app` printed: it carries the key to this page"
                return self._json(failure(UsageError("OC1605", "app", "this needs the app's link", next=text)), 403)
            if "token" in request.query_params:  # out of the address bar, into a cookie
                response = RedirectResponse("/", status_code=303, headers=HEADERS)
                response.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
                return response
            try:
                return await endpoint(request)
            except OnchipError as error:
                return self._json(failure(error), 413 if isinstance(error, BadFile) else 400)

        return inner

    def _is_ours(self, request: Request) -> bool:
        given = request.query_params.get("token", "") if request.method == "GET" else ""
        given = given or request.cookies.get(COOKIE, "")
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _json(self, content: Any, status: int = 200) -> Response:
        from starlette.responses import Response

        text = json.dumps(content, separators=(",", ":"))
        return Response(text, status, {**HEADERS, "Content-Type": "application/json"})

    async def page(self, _: Request) -> Response:
        """The page; everything else is asked by its script."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(PAGE, headers=HEADERS)

    def asset(self, name: str, kind: str) -> Endpoint:
        """Return the endpoint of a built file of the front end."""

        async def inner(_: Request) -> Response:
            from starlette.responses import Response

            from onchip.reports.html import WEB

            return Response((WEB / name).read_bytes(), headers={**HEADERS, "Content-Type": f"{kind}; charset=utf-8"})

        return inner

    async def schema(self, _: Request) -> Response:
        """The JSON Schema of chip files, from which the form is made."""
        from onchip.chip import schema

        return self._json(schema())

    async def ask(self, request: Request) -> Response:
        """Answer a question in a worker."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_QUESTION:
                raise UsageError("OC1604", "app", "the question is longer than 1 MiB")
        return self._json(await self._workers.ask(_question(bytes(body)), self._uploads.paths))

    async def report(self, request: Request) -> Response:
        """The whole report of a run as a page of its own; the page carries its own policy."""
        from starlette.responses import HTMLResponse, PlainTextResponse

        question = _question(request.query_params.get("q", "").encode())
        if not isinstance(question, dict) or cast(dict[str, Any], question).get("verb") != "document":
            raise UsageError("OC1604", "app", "the link is not that of a report")
        made = await self._workers.ask(question, self._uploads.paths)
        if "error" in made:
            return PlainTextResponse(made["error"]["text"] + "\n", 400, HEADERS)
        kept = {name: value for name, value in HEADERS.items() if name != "Content-Security-Policy"}
        return HTMLResponse(made["html"], headers=kept)

    async def upload(self, request: Request) -> Response:
        """Take a file, then read it in a worker: the answer is that of `inspect`, with the upload's name."""
        name = request.query_params.get("name", "")
        length = request.headers.get("content-length", "")
        if length.isdecimal():
            self._uploads.refuse_size(name, int(length))
        stored = await self._uploads.take(name, request.stream())
        made = await self._workers.ask({"verb": "inspect", "model": stored}, self._uploads.paths)
        return self._json(made if "error" in made else {**made, "upload": stored})


def _question(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("OC1604", "app", "the question is no JSON") from None


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>onchip</title>
<link rel="stylesheet" href="/app.css">
</head>
<body>
<div id="onchip-app"><p>onchip needs JavaScript here; the command line does not.</p></div>
<script src="/app.js"></script>
</body>
</html>
"""


def serve(port: int, *, workers: int, memory_bytes: int, largest: int, opened: Callable[[str], None]) -> None:
    """Serve the app on loopback until it is interrupted; `opened` gets the link. Raises UsageError."""
    import socket

    try:
        import uvicorn
    except ImportError:
        raise UsageError("OC1014", "app", "uvicorn is not installed", next="pip install 'onchip[app]'") from None
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("127.0.0.1", port))
    except OSError as error:
        hint = "Take another --port, or 0 for a free one"
        raise UsageError("OC1606", f"port {port}", f"cannot be opened: {error.strerror}", next=hint) from None
    port, token = door.getsockname()[1], secrets.token_urlsafe(24)
    hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
    made = application(Workers(workers, memory_bytes=memory_bytes), Uploads(largest), token, hosts)
    server = uvicorn.Server(uvicorn.Config(made, log_level="error", access_log=False, timeout_graceful_shutdown=1))
    opened(f"http://127.0.0.1:{port}/?token={token}")
    server.run(sockets=[door])
