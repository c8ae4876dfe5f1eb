from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from nubila.datasets import COLLECTIONS, get_collection
from nubila.datasets.collections import Download
from nubila.datasets.download import fetch, published_files, unpack
from nubila.errors import DamagedFileError, InputError
from tests.scenes.range_server import serve

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web/data.bin").write_bytes(CONTENT)
    with serve(tmp_path / "web") as found:
        yield found


def _file(server, **known) -> Download:
    return Download(f"{server.url}/data.bin", "data.bin", **known)


def test_a_file_comes_whole_and_once(server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    final = tmp_path / "data.bin"
    known = _file(server, size=len(CONTENT), md5=hashlib.md5(CONTENT).hexdigest())
    fetch(known, final, progress=lambda *seen: told.append(seen))
    assert final.read_bytes() == CONTENT
    assert told[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    assert len(told) > 1
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["data.bin"]
    fetch(known, final)
    assert len(server.requests) == 1


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("there", [1, 1_000_000, len(CONTENT)])
def test_a_broken_off_file_goes_on_where_it_stopped(
    server, tmp_path: Path, there: int, known: bool
) -> None:
    final = tmp_path / "data.bin"
    final.with_name("data.bin.part").write_bytes(CONTENT[:there])
    size = {"size": len(CONTENT)} if known else {}
    fetch(_file(server, md5=hashlib.md5(CONTENT).hexdigest(), **size), final)
    assert final.read_bytes() == CONTENT
    assert sum(sent for _, _, sent in server.requests) == len(CONTENT) - there


@pytest.mark.parametrize(
    ("known", "said"), [({"size": 5}, "published are 5"), ({"md5": "0" * 32}, "MD5")]
)
def test_what_is_not_as_published_is_removed(server, tmp_path: Path, known, said: str) -> None:
    with pytest.raises(DamagedFileError, match=said):
        fetch(_file(server, **known), tmp_path / "data.bin")
    assert [p.name for p in tmp_path.iterdir()] == ["web"]


def test_servers_that_do_not_answer(server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answers 404"):
        fetch(Download(f"{server.url}/none", "none"), tmp_path / "none")
    with pytest.raises(InputError, match="cannot be reached"):
        fetch(Download("http://127.0.0.1:9/none", "none"), tmp_path / "none")
    with pytest.raises(InputError, match="expected an address"):
        fetch(Download("file:///etc/hostname", "none"), tmp_path / "none")


def test_a_record_of_zenodo_tells_sizes_and_checksums(server, tmp_path: Path) -> None:
    names = COLLECTIONS["s2cmc"].zenodo_files
    files = [
        {"key": n, "size": 3, "checksum": f"md5:{i:032x}", "links": {"self": f"{server.url}/{n}"}}
        for i, n in enumerate((*names, "thumbnails.zip"))
    ]
    (tmp_path / "web/4172871").write_text(json.dumps({"files": files}))
    found = published_files(COLLECTIONS["s2cmc"], zenodo=server.url)
    assert [f.name for f in found] == list(names)
    assert found[1] == Download(f"{server.url}/{names[1]}", names[1], 3, f"{1:032x}")
    (tmp_path / "web/4172871").write_text(json.dumps({"files": files[1:]}))
    with pytest.raises(InputError, match=r"classification_tags\.csv.*by hand"):
        published_files(COLLECTIONS["s2cmc"], zenodo=server.url)


def test_archives_are_unpacked(server, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "web/a.zip", "w") as archive:
        archive.writestr("sending/x_data.tif", CONTENT)
    with tarfile.open(tmp_path / "web/b.tar.gz", "w:gz") as packed:
        member = tarfile.TarInfo("barren/y.txt")
        member.size = 2
        packed.addfile(member, io.BytesIO(b"ok"))
    names = ("a.zip", "b.tar.gz")
    files = tuple(Download(f"{server.url}/{name}", name) for name in names)
    found = replace(COLLECTIONS["sparcs"], downloads=files)
    folder = tmp_path / "data"
    assert get_collection(found, folder) == [folder / name for name in names]
    assert (folder / "sending/x_data.tif").read_bytes() == CONTENT
    assert (folder / "barren/y.txt").read_bytes() == b"ok"
    kept = (folder / "sending/x_data.tif").stat().st_mtime_ns
    (folder / "barren/y.txt").unlink()
    get_collection(found, folder)
    assert (folder / "sending/x_data.tif").stat().st_mtime_ns == kept
    assert (folder / "barren/y.txt").is_file()


def test_archives_that_lead_out_or_are_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../out.txt", "x")
    with pytest.raises(DamagedFileError, match="leads out of the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "in")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04nothing")
    (tmp_path / "c.tar.gz").write_bytes(b"nothing")
    for name in ("b.zip", "c.tar.gz"):
        with pytest.raises(DamagedFileError, match="damaged"):
            unpack(tmp_path / name, tmp_path / "in")
    assert not (tmp_path / "out.txt").exists()


def test_collections_without_an_address_tell_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"drivendata\.org.*train_features"):
        get_collection(COLLECTIONS["oncloudn"], tmp_path)


class _Fickle(BaseHTTPRequestHandler):
    """Knows nothing of ranges unless the version matches; breaks the first answer off."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict[str, str]]] = []
    breaks = 0

    def do_GET(self):
        headers = {k: v for k, v in self.headers.items() if k in ("Range", "If-Range")}
        type(self).asked.append(headers)
        start = int(headers["Range"][6:-1]) if headers.get("If-Range") == '"v2"' else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"v2"')
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        broken = type(self).breaks > 0
        type(self).breaks -= broken
        self.wfile.write(CONTENT[start : start + 1_500_000] if broken else CONTENT[start:])
        self.close_connection = broken

    def log_message(self, *_):
        pass


class _Unsized(_Fickle):
    """Tells of no answer how long it is, and of a range beyond the end that it is one."""

    tells_whole = True

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        type(self).asked.append({"start": str(start)})
        if start >= len(CONTENT):
            self.send_response(416)
            if type(self).tells_whole:
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Transfer-Encoding", "chunked")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        broken = type(self).breaks > 0
        type(self).breaks -= broken
        sent = CONTENT[start : start + (1 << 20)] if broken else CONTENT[start:]
        self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) + (b"" if broken else b"0\r\n\r\n"))
        self.close_connection = broken


@contextmanager
def _serving(handler: type[_Fickle]) -> Iterator[Download]:
    handler.asked, handler.breaks = [], 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Download(f"http://127.0.0.1:{server.server_port}/x", "x")
    server.shutdown()
    server.server_close()


@pytest.fixture
def fickle() -> Iterator[Download]:
    with _serving(_Fickle) as found:
        yield found


@pytest.fixture
def unsized() -> Iterator[Download]:
    with _serving(_Unsized) as found:
        yield found


def test_a_broken_answer_of_unknown_length_is_not_taken_for_whole(
    unsized: Download, tmp_path: Path
) -> None:
    _Unsized.breaks = 1
    fetch(unsized, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert _Unsized.asked == [{"start": "0"}, {"start": str(1 << 20)}]


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("there", [CONTENT, CONTENT[::-1] + b"of a longer version"])
def test_a_part_beyond_the_end_is_whole_only_if_it_is_as_long(
    unsized: Download,
    tmp_path: Path,
    there: bytes,
    tells: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_Unsized, "tells_whole", tells)
    (tmp_path / "x.part").write_bytes(there)
    fetch(unsized, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert len(_Unsized.asked) == (1 if tells and there == CONTENT else 2)


def test_a_broken_connection_is_taken_up_again(fickle: Download, tmp_path: Path) -> None:
    _Fickle.breaks = 1
    fetch(fickle, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    first, second = _Fickle.asked
    assert first == {}
    assert second == {"Range": "bytes=1500000-", "If-Range": '"v2"'}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_file_that_changed_comes_from_its_beginning(fickle: Download, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"of an older version")
    (tmp_path / "x.part.etag").write_text('"v1"')
    fetch(fickle, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_connection_that_always_breaks(
    fickle: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nubila.datasets.download._TRIES", 1)
    _Fickle.breaks = 1
    with pytest.raises(InputError, match="run the same command again, it goes on at byte 1500000"):
        fetch(fickle, tmp_path / "x")
    assert not (tmp_path / "x").exists()
