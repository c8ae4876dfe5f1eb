from __future__ import annotations

import getpass
import io
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from nubila.cli import app as cli
from nubila.curate.review import Review, ReviewStore
from nubila.errors import InputError, MissingExtraError
from tests.curate.review.conftest import COLUMNS, ROWS, Folder
from tests.curate.review.live import OURS, Client, running, serving

MASK = np.random.default_rng(0).integers(0, 64, (ROWS, COLUMNS)).astype(np.uint8)


def _sets(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(ROWS, COLUMNS)


def test_what_the_page_asks_for_is_what_is_there(folder: Folder, review: Review) -> None:
    with serving(review, folder.path) as client:
        found = client.get("/api/review").json
        assert [s["id"] for s in found["samples"]] == [f"set/s00{n}" for n in range(4)]
        assert [c["name"] for c in found["classes"]][1] == "cloud"
        facts = client.get("/api/samples/0").json
        assert (facts["rows"], facts["columns"], facts["prediction"]) == (ROWS, COLUMNS, True)
        assert facts["pictures"]["true colour"] == ["red", "green", "blue"]
        assert np.array_equal(
            _sets(client.get("/api/samples/1/label").body), review.sample(1).label
        )
        prediction = _sets(client.get("/api/samples/1/prediction").body)
        assert prediction[0, 0] == 1 and prediction[0, -1] == 2 and prediction[-1, 0] == 32
        content = client.get("/api/samples/1/image?bands=nir&stretch=ground").body
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (COLUMNS, ROWS) and image.getpixel((30, 25)) == 255


def test_what_is_not_there_is_said(folder: Folder, review: Review) -> None:
    with serving(review, folder.path) as client:
        assert client.get("/api/samples/3/prediction").status == 404
        assert client.get("/api/samples/0/draft").status == 404
        assert "there are 4" in client.get("/api/samples/9").json["detail"]
        wrong = client.get("/api/samples/0/image?bands=../etc&stretch=ground")
        assert wrong.status == 422 and "no band" in wrong.json["detail"]
        assert client.get("/static/../server.py").status == 404
        assert client.get("/static/%2e%2e/server.py").status == 404
        assert client.get("/docs").status == 404 and client.get("/openapi.json").status == 404


def test_decisions_come_and_go(folder: Folder, review: Review) -> None:
    with serving(review, folder.path) as client:
        state = client.post("/api/samples/1/decision", {"action": "keep", "why": " fine "}).json
        assert (state["action"], state["why"]) == ("keep", "fine")
        assert client.post("/api/samples/1/decision", {"action": "paint"}).status == 422
        assert client.post("/api/samples/3/decision", {"action": "prediction"}).status == 422
        put = client.ask("PUT", "/api/samples/2/draft", MASK.tobytes(), **OURS)
        assert put.status == 200
        assert client.get("/api/samples/2").json["draft"] is True
        assert client.post("/api/samples/2/decision", {"action": "fix"}).json["action"] == "fix"
        assert np.array_equal(_sets(client.get("/api/samples/2/decided").body), MASK)
        assert client.post("/api/export").json["rows"] == 2
        assert (folder.path / "out.csv").is_file()
        undone = client.post("/api/undo").json
        assert (undone["number"], undone["undone"], undone["action"]) == (2, "fix", None)
        assert np.array_equal(_sets(client.get("/api/samples/2/draft").body), MASK)
        assert client.ask("DELETE", "/api/samples/2/draft", **OURS).status == 200
        assert client.get("/api/samples/2/draft").status == 404


@pytest.mark.parametrize("size", [0, ROWS * COLUMNS - 1, ROWS * COLUMNS + 1])
def test_a_mask_has_a_byte_a_pixel(folder: Folder, review: Review, size: int) -> None:
    with serving(review, folder.path) as client:
        answer = client.ask("PUT", "/api/samples/2/draft", bytes(size), **OURS)
        assert answer.status == 422 and "48 x 64 bytes" in answer.json["detail"]


def _raw(client: Client, *lines: str) -> bytes:
    """Send a request as it stands, with no body; return the line of its status."""
    head = ["POST /api/undo HTTP/1.1", "host: localhost", "x-nubila-review: 1", *lines, "", ""]
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall("\r\n".join(head).encode())
        return connection.recv(4096).splitlines()[0]


def test_a_body_is_not_read_beyond_its_limit(folder: Folder, review: Review) -> None:
    with serving(review, folder.path) as client:
        remark = "\U0001f325" * 2000  # the longest remark, as long as JSON can write it
        answer = client.post("/api/samples/0/decision", {"action": "keep", "why": remark})
        assert (answer.status, answer.json["why"]) == (200, remark)
        body = {"action": "keep", "why": "x" * 10_000_000}
        answer = client.post("/api/samples/0/decision", body)
        assert answer.status == 413
        assert answer.body.decode() == "a body of 10000029 bytes; expected no more than 65536"
        assert client.post("/api/undo", body).status == 413
        assert (
            client.post("/api/samples/0/decision", {"action": "keep", "why": "x" * 2001}).status
            == 422
        )
        assert b" 411 " in _raw(client, "transfer-encoding: chunked")
        assert b" 413 " in _raw(client, "content-length: 999999999999")
        assert b" 400 " in _raw(client, "content-length: many")
        assert len(review.store.history("set/s000")) == 1


def test_a_foreign_page_is_not_answered(folder: Folder, review: Review) -> None:
    with serving(review, folder.path) as client:
        assert client.get("/api/review", host="evil.example").status == 403
        body = {"action": "drop"}
        assert client.ask("POST", "/api/samples/0/decision", body).status == 403
        assert client.post("/api/undo", origin="http://evil.example").status == 403
        page = client.get("/")
        assert (
            page.status == 200
            and "frame-ancestors 'none'" in page.headers["content-security-policy"]
        )
        assert "access-control-allow-origin" not in page.headers
        assert review.store.current() == {}


def test_a_token_is_asked_for_and_becomes_a_cookie(folder: Folder, review: Review) -> None:
    with serving(review, folder.path, token="secret") as client:
        assert client.get("/").status == client.get("/static/app.js").status == 401
        assert client.get("/?token=wrong").status == 401
        entry = client.get("/?token=secret")
        assert (entry.status, entry.headers["location"]) == (303, "/")
        cookie = entry.headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        assert client.get("/api/review", cookie=cookie.split(";")[0]).status == 200
        assert client.get("/api/review", authorization="Bearer secret").status == 200
        assert client.get("/api/review?token=secret").status == 401


def test_a_killed_server_has_lost_nothing(folder: Folder) -> None:
    with running(str(folder.manifest), "--predictions", str(folder.predictions)) as (process, url):
        client = Client(int(url.rstrip("/").rsplit(":", 1)[1]))
        assert client.ask("PUT", "/api/samples/1/draft", MASK.tobytes(), **OURS).status == 200
        body = {"action": "prediction", "why": "better"}
        assert client.post("/api/samples/0/decision", body).status == 200
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    store = ReviewStore(folder.decisions)
    (found,) = store.current().values()
    assert (found.sample, found.action, found.why) == ("set/s000", "prediction", "better")
    assert store.mask(found) is not None
    assert np.array_equal(store.draft("set/s001", getpass.getuser()), MASK)


def test_an_address_for_others_comes_with_a_token(folder: Folder) -> None:
    with running(str(folder.manifest), "--host", "0.0.0.0") as (_, url):
        address, token = url.split("/?token=")
        client = Client(int(address.rsplit(":", 1)[1]))
        assert len(token) >= 32
        assert client.get("/").status == 401
        assert client.get(f"/?token={token}").status == 303


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "nubila.curate.review.server")
    with pytest.raises(MissingExtraError, match=r"fastapi is not installed.*nubila\[review\]"):
        import nubila.curate.review.server  # noqa: F401


def test_the_page_loads_nothing_from_elsewhere() -> None:
    import nubila.curate.review as package

    files = sorted((Path(package.__file__).parent / "static").iterdir())
    assert {"index.html", "app.js", "style.css"} <= {file.name for file in files}
    for file in files:
        text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "http://" not in text and "https://" not in text, file.name


def test_the_button_writes_over_no_table_that_is_read(folder: Folder) -> None:
    before = folder.manifest.read_bytes()
    decisions = folder.manifest.with_suffix(".db")  # the button would write manifest.csv
    given = ["review", str(folder.manifest), "--decisions", str(decisions), "--no-browser"]
    refused = CliRunner().invoke(cli, given)
    assert isinstance(refused.exception, InputError), refused.output
    assert folder.manifest.read_bytes() == before
    assert not decisions.exists()
