"""Collections fetched from their published addresses: resumed, verified, unpacked."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from nubila.datasets.collections import Collection, Download
from nubila.errors import DamagedFileError, InputError, OutputError
from nubila.raster.atomic import atomic_path, make_folder

__all__ = ["fetch", "get_collection", "published_files", "unpack"]

# Called with a file's name, how many bytes of it are there, and how many there will be (or None).
Progress = Callable[[str, int, int | None], None]

_ZENODO: Final = "https://zenodo.org/api/records"
_BLOCK: Final = 1 << 20
_TRIES: Final = 4
_TIMEOUT: Final = 60.0  # seconds without a byte


def get_collection(
    found: Collection,
    folder: str | Path,
    *,
    progress: Progress = lambda name, done, total: None,
) -> list[Path]:
    """Fetch a collection's files into a folder and unpack its archives there.

    What is there already is not fetched again, and a file that was broken off goes on where it
    stopped. Archives are kept; they can be removed when unpacked.

    Args:
        found: the collection.
        folder: made if it is not there.
        progress: told of each block.

    Returns:
        The files fetched, whether now or before.

    Raises:
        InputError: it has no address that can be fetched without an account; the message tells
            how to get it. Or the server does not answer.
        DamagedFileError: what came has another size or checksum than published.
        OutputError: the folder cannot be written.
    """
    if not found.fetchable:
        where = f"get it from {found.page}" if found.page else "it is your own"
        raise InputError(
            f"{found.name} cannot be fetched without an account or by one address: {where}, and "
            f"lay it out as {found.layout}; `nubila data check {found.name} FOLDER` looks it over"
        )
    base = make_folder(folder)
    files = []
    for file in published_files(found):
        path = base / file.name
        fetch(file, path, progress=progress)
        if path.name.endswith((".zip", ".tar.gz", ".tgz", ".tar")):
            unpack(path, base)
        files.append(path)
    return files


def published_files(found: Collection, *, zenodo: str = _ZENODO) -> tuple[Download, ...]:
    """Return what to fetch; of a Zenodo record with the sizes and checksums that it tells.

    Raises:
        InputError: Zenodo does not answer, or the record has no such file.
    """
    if found.zenodo is None:
        return found.downloads
    url = f"{zenodo}/{found.zenodo}"
    with _opened(url, {}) as response:
        try:
            files = {file["key"]: file for file in json.load(response)["files"]}
            return tuple(_of_zenodo(files[name]) for name in found.zenodo_files)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{url}: not the record expected ({error}); get the files by hand from {found.page}"
            ) from error


def _of_zenodo(file: dict[str, Any]) -> Download:
    kind, _, digest = str(file["checksum"]).rpartition(":")
    md5 = digest if kind in ("md5", "") else None
    return Download(str(file["links"]["self"]), str(file["key"]), int(file["size"]), md5)


def fetch(
    file: Download, final: Path, *, progress: Progress = lambda name, done, total: None
) -> None:
    """Fetch one file; what a broken-off attempt left in ``<name>.part`` is gone on with.

    The final name appears only when size and checksum are those published.

    Raises:
        InputError: the server does not answer, after several tries.
        DamagedFileError: size or checksum are not those published; the part is removed.
        OutputError: the file cannot be written.
    """
    if final.is_file() and file.size in (None, final.stat().st_size):
        progress(file.name, final.stat().st_size, final.stat().st_size)
        return
    part = final.with_name(f"{final.name}.part")
    try:
        for number in range(_TRIES):
            if _fetch_rest(file, part, progress):
                break
            time.sleep(0.2 * 4**number)
        else:
            raise InputError(
                f"{file.url}: broke off {_TRIES} times; run the same command again, it goes on "
                f"at byte {part.stat().st_size}"
            )
        _verify(file, part)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(final)
        _mark(part).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{final}: cannot be written: {error.strerror or error}") from error


def _mark(part: Path) -> Path:
    """Return where the server's own name of a part's version is kept."""
    return part.with_name(f"{part.name}.etag")


def _fetch_rest(file: Download, part: Path, progress: Progress) -> bool:
    """Fetch from where the part ends; False where the connection broke off."""
    start = part.stat().st_size if part.exists() else 0
    if file.size is not None and start == file.size:
        return True
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and _mark(part).is_file():
        headers["If-Range"] = _mark(part).read_text()  # a changed file comes from its beginning
    with _opened(file.url, headers) as response:
        if response.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _whole_size(response) == start:
                return True
            part.write_bytes(b"")  # of another version, or too long: it comes from its beginning
            return False
        goes_on = response.status == http.client.PARTIAL_CONTENT and _begins_at(response, start)
        done = start if goes_on else 0
        total = _total(response, done)
        if tag := response.headers.get("ETag"):
            _mark(part).write_text(tag)
        with part.open("ab" if goes_on else "wb") as stream:
            while block := _block(response):
                stream.write(block)
                done += len(block)
                progress(file.name, done, total)
    return block is not None and (total is None or done >= total)


def _begins_at(response: Any, start: int) -> bool:  # noqa: ANN401 (urllib's is untyped)
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return bool(found and int(found[1]) == start)


def _total(response: Any, done: int) -> int | None:  # noqa: ANN401 (urllib's is untyped)
    length = response.headers.get("Content-Length")
    return done + int(length) if length is not None else None


def _whole_size(response: Any) -> int | None:  # noqa: ANN401 (urllib's is untyped)
    """Return how long the file is, as the answer to a range beyond its end tells."""
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _block(response: IO[bytes]) -> bytes | None:
    """Return what comes next, nothing at the end; None where the connection broke off."""
    try:
        return response.read(_BLOCK)
    except (http.client.HTTPException, ConnectionError, TimeoutError):
        return None


def _opened(url: str, headers: dict[str, str]) -> Any:  # noqa: ANN401 (urllib's is untyped)
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url}: expected an address that starts with https://")
    request = urllib.request.Request(url, headers={"User-Agent": "nubila", **headers})
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error
        raise InputError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        reason = getattr(e, "reason", e)
        raise InputError(f"{url}: cannot be reached: {reason}; run it again later") from e


def _verify(file: Download, part: Path) -> None:
    size = part.stat().st_size
    digest = ""
    if file.md5 is not None:
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
    for what, expected, found in (("bytes", file.size, size), ("MD5", file.md5, digest)):
        if expected is not None and expected != found:
            part.unlink()
            raise DamagedFileError(
                f"{file.url}: {what} {found}, published are {expected}; it was removed, fetch it "
                f"again"
            )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar; files that are there in the right size are left alone.

    Raises:
        DamagedFileError: the archive is damaged, or a name in it leads out of the folder.
        OutputError: a file cannot be written.
    """
    try:
        for name, size, opened in _members(archive):
            _place(archive, folder, name, size, opened)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DamagedFileError(f"{archive}: damaged: {error}; remove it, fetch it again") from error


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes] | None]]]:
    """Yield name, size, and what opens it, of each file in an archive."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, partial(content.open, entry)
    else:
        with tarfile.open(archive) as packed:
            for member in packed:
                if member.isfile():
                    yield member.name, member.size, partial(packed.extractfile, member)


def _place(
    archive: Path, folder: Path, name: str, size: int, opened: Callable[[], IO[bytes] | None]
) -> None:
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise DamagedFileError(f"{archive}: it holds {name!r}, which leads out of the folder")
    target = folder.joinpath(*parts)
    if target.is_file() and target.stat().st_size == size:
        return
    source = opened()
    if source is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, atomic_path(target) as temporary, temporary.open("wb") as stream:
        shutil.copyfileobj(source, stream, _BLOCK)
