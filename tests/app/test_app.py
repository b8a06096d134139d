"""The app's server and workers, asked over HTTP on loopback: answers, limits, keys, and what goes wrong."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

import onchip as oc
from onchip import pipeline
from onchip.app.engine import answer
from onchip.app.uploads import MOST, Uploads
from onchip.app.workers import Workers

uvicorn = pytest.importorskip("uvicorn")
Made = TypeVar("Made")
TOKEN = "key"
LARGEST = 1 << 20


class Served:
    """A running app and a client of it."""

    def __init__(self, port: int, workers: Workers, uploads: Uploads) -> None:
        self.port, self.workers, self.uploads = port, workers, uploads

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"Cookie": f"onchip={TOKEN}", **headers}
        connection.request(method, path, body, {key: value for key, value in given.items() if value})
        response = connection.getresponse()
        found = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        connection.close()
        return found

    def ask(self, **question: Any) -> dict[str, Any]:
        status, _, body = self.send("POST", "/ask", json.dumps(question))
        assert status == 200
        return json.loads(body)

    def upload(self, name: str, body: bytes) -> tuple[int, dict[str, Any]]:
        status, _, made = self.send("PUT", f"/upload?name={name}", body)
        return status, json.loads(made)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    from onchip.app.server import application

    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    port = door.getsockname()[1]
    workers, uploads = Workers(2, seconds=30), Uploads(LARGEST)
    made = application(workers, uploads, TOKEN, frozenset({f"127.0.0.1:{port}"}))
    server = uvicorn.Server(uvicorn.Config(made, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Served(port, workers, uploads)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive() and not Path(uploads._folder).exists()


def test_an_estimate_is_that_of_the_library(served: Served) -> None:
    made = served.ask(
        verb="estimate", model="@resnet8", chip="edge-npu-16", overrides={"local.size": "512 KiB"}, batch=2
    )
    chip = oc.Chip.load("edge-npu-16").replace({"local.size": "512 KiB"})
    own = oc.estimate(oc.read("@resnet8").bind(batch=2), chip)
    (report,) = made["page"]["reports"]
    assert {**report, "timing": {}} == json.loads(json.dumps(own.to_json()))
    assert report["batch"] == 2


def test_a_comparison_names_who_is_left_out(served: Served) -> None:
    made = served.ask(verb="compare", model="@resnet8", chips=["tiny-npu-4", "edge-npu-16", "nobody"])
    assert [row["chip"] for row in made["rows"]] == ["edge-npu-16", "tiny-npu-4"]
    assert (
        made["rows"][0]["latency_s"]
        == pipeline.on_silicon(oc.read("@resnet8"), oc.Chip.load("edge-npu-16")).latency_s.value
    )
    assert "nobody" in made["refused"][0]["reason"]


def test_without_the_key_or_from_another_host_nothing_is_answered(served: Served) -> None:
    for headers in ({"Cookie": ""}, {"Cookie": "onchip=wrong"}, {"Host": "evil.example"}):
        for method, path in (("GET", "/"), ("GET", "/schema"), ("POST", "/ask"), ("PUT", "/upload?name=a.onnx")):
            status, _, body = served.send(method, path, b"{}" if method != "GET" else None, **headers)
            assert status == 403 and json.loads(body)["error"]["code"] == "OC1605", (method, path, headers)
    status, headers, _ = served.send("POST", f"/ask?token={TOKEN}", b"{}", Cookie="")
    assert status == 403, "a form of another site must not carry the key in a link"
    status, headers, _ = served.send("GET", f"/?token={TOKEN}", Cookie="")
    assert status == 303 and "HttpOnly" in headers["set-cookie"] and "SameSite=strict" in headers["set-cookie"]


def test_the_page_allows_no_other_host(served: Served) -> None:
    status, headers, body = served.send("GET", "/")
    assert status == 200 and "connect-src 'self'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"] and b"http" not in body.split(b"<body>")[1]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"x"', b"\xff", b'{"verb":"estimate"}', b'{"verb":["x"]}', b"[" * 5000]
)
def test_a_malformed_question_gets_an_error_of_ours(served: Served, body: bytes) -> None:
    status, _, made = served.send("POST", "/ask", body)
    assert status in (200, 400) and json.loads(made)["error"]["code"] == "OC1604"


def test_a_long_question_is_refused(served: Served) -> None:
    status, _, made = served.send("POST", "/ask", b" " * (1 << 21))
    assert status == 400 and "longer than" in json.loads(made)["error"]["fact"]


def test_an_upload_is_read_and_priced(served: Served, tmp_path: Path) -> None:
    oc.read("@digits_cnn", weights="random").save(tmp_path / "mine.npz")
    status, made = served.upload("mine.npz", (tmp_path / "mine.npz").read_bytes())
    assert status == 200 and made["parameters"] == oc.read("@digits_cnn").parameters()
    page = served.ask(verb="estimate", model=made["upload"], chip="edge-npu-16")["page"]
    assert page["reports"][0]["cycles"] == oc.estimate(oc.read("@digits_cnn"), "edge-npu-16").cycles


@pytest.mark.parametrize(
    ("name", "body"),
    [("a.onnx", b"\x08\xff" * 500), ("a.tflite", b"TFL3"), ("a.npz", b"PK\x03\x04junk"), ("a.csv", b"\x00")],
)
def test_a_malformed_upload_is_an_error_of_the_file(served: Served, name: str, body: bytes) -> None:
    status, made = served.upload(name, body)
    assert status == 200 and made["error"]["code"].startswith("OC12"), made
    assert made["error"]["text"].startswith(f"{name}: ") and str(served.uploads._folder) not in json.dumps(made)


def test_a_large_upload_is_refused_before_and_while_it_arrives(served: Served) -> None:
    before = set(os.listdir(served.uploads._folder))
    status, made = served.upload("big.onnx", b"x" * (LARGEST + 1))
    assert status == 413 and made["error"]["code"] == "OC1601" and "1.00 MiB" in made["error"]["limit"]
    chunks = (b"x" * (1 << 16) for _ in range(1000))
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.putrequest("PUT", "/upload?name=big.onnx")
    connection.putheader("Cookie", f"onchip={TOKEN}")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    try:
        for chunk in chunks:
            connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        connection.send(b"0\r\n\r\n")
    except OSError:
        pass  # the server closed the connection in the middle
    else:
        assert connection.getresponse().status == 413
    connection.close()
    assert set(os.listdir(served.uploads._folder)) == before
    assert served.upload("x.exe", b"MZ")[0] == 413
    status, made = served.upload("..%2F..%2Fetc%2F.x%20y.npz", b"PK")
    assert made["error"]["where"] == "x_y.npz"


def test_questions_open_no_path_but_uploads(tmp_path: Path) -> None:
    oc.read("@digits_cnn", weights="random").save(tmp_path / "mine.npz")
    for model in (str(tmp_path / "mine.npz"), "os:getcwd", "../mine.npz", "package.module:factory"):
        made = answer({"verb": "inspect", "model": model}, {})
        assert made["error"]["code"] == "OC1602"
    for chip in (str(tmp_path / "x.toml"), "edge-npu-16?local.size=1KiB", "../edge-npu-16"):
        assert answer({"verb": "chip", "chip": chip}, {})["error"]["code"] == "OC1604"


def test_two_users_at_once_and_a_killed_worker(served: Served) -> None:
    question = {"verb": "estimate", "model": "@resnet8", "chip": "edge-npu-16"}
    with ThreadPoolExecutor(4) as pool:
        made = [one.result() for one in [pool.submit(served.ask, **question) for _ in range(4)]]
        assert len({answer["page"]["reports"][0]["cycles"] for answer in made}) == 1
        pids = served.workers.pids
        asked = [pool.submit(served.ask, verb="compare", model="@resnet50") for _ in range(2)]
        time.sleep(0.3)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert [one.result()["error"]["code"] for one in asked] == ["OC1603"] * 2
    assert not set(pids) & set(served.workers.pids)
    assert "page" in served.ask(**question)


def apart(work: Callable[[], Coroutine[Any, Any, Made]]) -> Made:
    """Run a coroutine in a thread: a browser of other tests may have a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def test_a_worker_has_a_limit_of_time_and_memory() -> None:
    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        quick = Workers(1, seconds=0.2)
        late = await quick.ask({"verb": "compare", "model": "@resnet50"}, {})
        quick.close()
        small = Workers(1, memory_bytes=200 << 20)
        fat = await small.ask({"verb": "compare", "model": "@resnet50"}, {})
        small.close()
        return late, fat

    late, fat = apart(both)
    assert late["error"]["code"] == "OC1603" and "seconds" in late["error"]["fact"]
    assert fat["error"]["code"] in ("OC1603", "OC9099")


def test_uploads_are_kept_for_a_while(tmp_path: Path) -> None:
    uploads = Uploads()

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"x"

    names = [apart(lambda: uploads.take("a.onnx", chunks())) for _ in range(MOST + 2)]
    assert list(uploads.paths) == names[2:] and len(list(uploads._folder.iterdir())) == MOST
    uploads.close()
    assert not uploads._folder.exists()
