"""One view on a product that is a folder, a zip or a tar; nothing is ever unpacked."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from nubila.errors import DamagedFileError, MissingFileError, ProductError

__all__ = ["Tree", "check_member", "is_archive", "is_zip", "open_tree"]

# A Sentinel-2 product of many granules has some thousand files; the metadata files that are read
# whole are below 2 MB. Both limits only keep a wrong or hostile path from filling the memory.
_MOST_MEMBERS: Final = 100_000
_MOST_BYTES: Final = 64 * 2**20

_TAR_BLOCK: Final = 512
# What files of a kind begin with.
_ZIP: Final = b"PK\x03\x04"
_GZIP: Final = b"\x1f\x8b"
_UNREAD: Final = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# Numbers by PKWARE's APPNOTE.TXT, section 4.4.5.
_UNREAD_METHODS: Final = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz"}
# As `_gdal_prefix` writes it, but for archives with a brace in their names.
_IN_ZIP: Final = re.compile(r"/vsizip/\{([^{}]+)\}/(.+)", re.DOTALL)
_CHUNK: Final = 2**20
_BROKEN: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class Tree:
    """The files of a product.

    Attributes:
        path: the folder or archive, as given.
        names: files as relative names with ``/``, sorted; without what macOS puts beside them.
    """

    path: str
    names: tuple[str, ...]
    _prefix: str = field(repr=False)
    _read: Callable[[str], bytes] = field(repr=False)
    _nameless: frozenset[str] = field(default=frozenset(), repr=False)  # to GDAL

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the files that match, in any letter case, the shallowest first.

        Args:
            pattern: as in `fnmatch`, over the whole relative name; ``*`` also stands for ``/``.
        """
        fits = re.compile(fnmatch.translate(pattern.lower())).match
        return tuple(sorted((n for n in self.names if fits(n.lower())), key=_depth))

    def find(self, pattern: str) -> str | None:
        """Return the file of that name or, failing that, the first that `glob` gives, or None.

        A name is looked for as it is first, then in any letter case.
        """
        if pattern in self._by_lower_name.values():
            return pattern
        same = self._by_lower_name.get(pattern.lower())
        return same or next(iter(self.glob(pattern)), None)

    def read(self, name: str) -> bytes:
        """Return the content of a metadata file.

        Raises:
            MissingFileError: no such file.
            DamagedFileError: it cannot be read from the archive.
            ProductError: it is larger than 64 MiB.
        """
        if name not in self._by_lower_name.values():
            raise MissingFileError(f"{self.path}: no file {name!r} in it")
        try:
            return self._read(name)
        except (*_BROKEN, OSError) as error:
            raise DamagedFileError(f"{self.path}: cannot read {name!r}: {error}") from error

    def gdal_path(self, name: str) -> str:
        """Return what GDAL calls a file, ``/vsizip/{...}`` or ``/vsitar/{...}`` in an archive.

        Raises:
            ProductError: GDAL cannot find it by its name.
        """
        if name in self._nameless:
            raise ProductError(
                f"{self.path}: {name!r} has its name in a pax header, for it is long, and GDAL "
                f"does not read those; unpack the archive and give the folder"
            )
        return f"{self._prefix}/{name}"

    @cached_property
    def _by_lower_name(self) -> dict[str, str]:
        return {name.lower(): name for name in self.names}


def open_tree(path: str | Path) -> Tree:
    """List the files of a folder, a zip, or a tar (also ``.tar.gz``, ``.tgz``).

    Raises:
        MissingFileError: there is nothing at `path`.
        DamagedFileError: the archive is cut short or not what its name says.
        ProductError: a member's name or link leads out of the archive, or stands twice, or GDAL
            cannot read the archive by its name or compression.
    """
    place = Path(path)
    if place.is_dir():
        return Tree(str(path), _folder_names(place), str(place), partial(_read_file, place))
    if not place.is_file():
        raise MissingFileError(f"{place}: no such file or folder")
    try:
        if zipfile.is_zipfile(place):
            names = _zip_names(place)
            prefix = _gdal_prefix(place, "zip", str(place))
            return Tree(str(path), names, prefix, partial(_read_zip, place))
        if is_archive(place) and not place.name.lower().endswith(".zip"):
            names, nameless = _tar_names(place)
            prefix = _gdal_prefix(place, "tar", _plain_tar(place))
            return Tree(str(path), names, prefix, partial(_read_tar, place), nameless)
    except (*_BROKEN, OSError) as error:
        raise DamagedFileError(f"{place}: damaged or cut short: {error}; fetch it again") from error
    raise DamagedFileError(
        f"{place}: neither a folder nor a whole zip or tar (cut short?); fetch it again"
    )


def check_member(gdal_path: str) -> None:
    """Hold a file within a zip to its checksum, which GDAL does not when it reads here and there.

    A JPEG 2000 decoder makes wrong pixels of wrong bytes more often than it complains.

    Args:
        gdal_path: as of `Tree.gdal_path`; what is not in a zip on disk passes.

    Raises:
        DamagedFileError: its bytes are not those that were packed.
    """
    inside = _IN_ZIP.fullmatch(gdal_path)
    if inside is None or not Path(inside[1]).is_file():  # on the web, or within another archive
        return
    archive, name = inside.groups()
    try:
        with zipfile.ZipFile(archive) as data:
            names = {m.orig_filename.removeprefix("./"): m for m in data.infolist()}
            if name not in names:  # GDAL knows it by another spelling
                return
            with data.open(names[name]) as stream:
                while stream.read(_CHUNK):
                    pass
    except (*_BROKEN, OSError) as error:
        raise DamagedFileError(
            f"{archive}: {name!r} in it is damaged: {error}; fetch it again"
        ) from error


def is_archive(path: str | Path) -> bool:
    """Tell by its name whether a path is an archive that `open_tree` reads."""
    return str(path).lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def is_zip(path: Path) -> bool:
    """Tell by how a file begins whether it is a zip, whatever it is called."""
    try:
        return path.is_file() and _first_bytes(path).startswith(_ZIP)
    except OSError:
        return False


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _gdal_prefix(place: Path, kind: str, inner: str) -> str:
    """Return what GDAL calls an archive.

    Args:
        place: the archive.
        kind: ``zip`` or ``tar``.
        inner: what GDAL calls the archive's file.
    """
    if not {"{", "}"} & set(inner):
        return f"/vsi{kind}/{{{inner}}}"
    # Braces that do not match mislead GDAL; without them around it, it knows archives by ending.
    if not is_archive(place):
        raise ProductError(
            f"{place}: an archive with a brace in its name is found by its ending only; rename it "
            f"so that it ends in .{kind} or has no brace"
        )
    return f"/vsi{kind}/{inner if inner.startswith('/') else f'./{inner}'}"


def _plain_tar(place: Path) -> str:
    """Return what GDAL calls a tar, uncompressed.

    GDAL tells by the ending whether a tar is compressed, Python by how it begins.
    """
    start, named = _first_bytes(place), place.name.lower().endswith((".tar.gz", ".tgz"))
    if start.startswith(_GZIP):
        return str(place) if named else f"/vsigzip/{place}"
    for magic, program in _UNREAD.items():
        if start.startswith(magic):
            raise ProductError(
                f"{place}: a tar that is compressed with {program}, which is not read; unpack it, "
                f"or pack it as .tar or .tar.gz"
            )
    if named:
        raise ProductError(
            f"{place}: a tar that is not compressed; rename it so that it ends in .tar"
        )
    return str(place)


def _depth(name: str) -> tuple[int, str]:
    return name.count("/"), name


def _folder_names(folder: Path) -> tuple[str, ...]:
    names: list[str] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = _without_loops(Path(parent), folders)
        relative = Path(parent).relative_to(folder)
        places = ((relative / file).as_posix() for file in files)
        names.extend(place for place in places if not _is_of_macos(place))
        if len(names) > _MOST_MEMBERS:
            raise ProductError(
                f"{folder}: more than {_MOST_MEMBERS} files in it; give the folder of one product"
            )
    return tuple(sorted(names))


def _without_loops(parent: Path, folders: Iterable[str]) -> list[str]:
    """Return a folder's own folders without links to it, or to one that it lies in."""
    above = {place.resolve() for place in (parent, *parent.absolute().parents)}
    places = ((name, parent / name) for name in folders)
    return [name for name, at in places if not (at.is_symlink() and at.resolve() in above)]


def _zip_names(archive: Path) -> tuple[str, ...]:
    with zipfile.ZipFile(archive) as data:
        members = data.infolist()
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _trick(archive, member.filename, "is a link")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = _UNREAD_METHODS.get(member.compress_type, f"method {member.compress_type}")
            raise ProductError(
                f"{archive}: {member.filename!r} in it is compressed with {method}, which is not "
                f"read; unpack it, or zip it anew with deflate, which is the usual"
            )
    return _checked(archive, ((m.orig_filename, m.is_dir()) for m in members))


def _tar_names(archive: Path) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the files' names, and which of them GDAL does not find.

    Those are in a pax header (POSIX.1-2001), which GDAL's /vsitar/ passes over. Some writers put
    those that are not ASCII into both headers.
    """
    with tarfile.open(archive) as data:
        members = data.getmembers()
        # tarfile stops without a word at a header that it cannot read; a whole archive has zeros
        # there, or ends.
        if data.fileobj is not None:
            data.fileobj.seek(data.offset)
            rest = data.fileobj.read(_TAR_BLOCK)
            if rest.strip(b"\0"):
                raise tarfile.ReadError(f"no tar header at byte {data.offset}")
    for member in members:
        if member.issym() or member.islnk():
            raise _trick(archive, member.name, f"is a link to {member.linkname!r}")
        if not (member.isfile() or member.isdir()):
            raise _trick(archive, member.name, "is neither a file nor a folder")
    nameless = frozenset(
        member.name.removeprefix("./")
        for member in members
        if "path" in member.pax_headers and member.name.isascii()
    )
    return _checked(archive, ((m.name, m.isdir()) for m in members)), nameless


def _checked(archive: Path, members: Iterable[tuple[str, bool]]) -> tuple[str, ...]:
    """Return the files' names, refusing those that would lead out of the archive."""
    names: list[str] = []
    for name, is_folder in members:
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or ":" in parts[0] or ".." in parts or "\0" in name:
            raise _trick(archive, name, "leads out of the archive")
        if not (is_folder or _is_of_macos(name)):
            names.append(name.removeprefix("./"))
    if len(names) > _MOST_MEMBERS:
        raise ProductError(f"{archive}: {len(names)} files in it, more than any product has")
    names.sort()
    for first, second in pairwise(names):
        if first == second:
            raise _trick(archive, first, "stands in it twice")
    return tuple(names)


def _is_of_macos(name: str) -> bool:
    """Tell whether a file holds only what macOS keeps of another, whose name it has after ``._``.

    It lies beside the other on file systems such as exFAT or SMB and in a tar, and below
    ``__MACOSX`` in a zip.
    """
    folders, _, base = name.replace("\\", "/").rpartition("/")
    return base.startswith("._") or "__MACOSX" in folders.split("/")


def _trick(archive: Path, member: str, why: str) -> ProductError:
    return ProductError(
        f"{archive}: the member {member!r} {why}; no product is packed like this, so it is not read"
    )


def _read_file(folder: Path, name: str) -> bytes:
    with (folder / name).open("rb") as data:
        return _whole(folder, name, data.read(_MOST_BYTES + 1))


def _read_zip(archive: Path, name: str) -> bytes:
    with zipfile.ZipFile(archive) as data, data.open(_stored(data.namelist(), name)) as member:
        return _whole(archive, name, member.read(_MOST_BYTES + 1))


def _read_tar(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as data:
        member = data.extractfile(_stored(data.getnames(), name))
        if member is None:
            raise tarfile.ReadError("not a file")
        return _whole(archive, name, member.read(_MOST_BYTES + 1))


def _stored(names: Iterable[str], name: str) -> str:
    """Return the member's name as stored: some archives begin every name with ``./``."""
    return name if name in names else f"./{name}"


def _whole(place: Path, name: str, content: bytes) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ProductError(
            f"{place}: {name!r} in it is larger than {_MOST_BYTES} bytes, which no product's "
            f"metadata are, so it is not read"
        )
    return content
