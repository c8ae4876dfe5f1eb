"""Output that is whole or absent: files are written beside their final name, then renamed."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nubila.errors import OutputError
from nubila.raster.names import check_name

__all__ = [
    "atomic_path",
    "check_folder",
    "filling",
    "flush",
    "make_folder",
    "new_folder",
    "scratch_path",
    "write_message",
]

_NUMBER = itertools.count()

# Ends of the names of what GDAL puts beside a file.
_BESIDE: Final = (".aux.xml", ".ovr", ".msk")

_REMEDIES: Final = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than the disk or a limit of the system allows",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "permission denied; choose a folder that you may write to",
}


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `final`; rename it when the body is done.

    On success the file is flushed to the disk and renamed, replacing what was there. On any
    failure, Ctrl-C included, it is removed, together with what GDAL may have put beside it. What
    a killed process left behind is removed by the next one that writes the same file.

    Args:
        final: the name that the file gets; its folder must exist.

    Raises:
        OutputError: the file cannot be written, for whatever reason the system gives.

    >>> with atomic_path("mask.json") as path:
    ...     path.write_text("{}")
    """
    final = Path(final)
    with scratch_path(final) as temporary:
        yield temporary
        flush(temporary)
        temporary.replace(final)
        with suppress(OSError):  # some network file systems cannot do this for folders
            flush(final.parent)


@contextmanager
def filling(final: Path, work: Path) -> Iterator[None]:
    """Say of a folder that is being filled that it cannot be written, where the system says so.

    Args:
        final: the name that people know it by.
        work: the folder that is written.

    Raises:
        OutputError: the disk is full, or a file in the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if _is_full(error) or str(error.filename).startswith(f"{work}{os.sep}"):
            raise OutputError(write_message(final, error)) from error
        raise


@contextmanager
def scratch_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `final`, which is removed when the body is done.

    For what is needed while `final` is made: the same disk, so that one message about a full disk
    says it all.

    Raises:
        OutputError: the file cannot be written, for whatever reason the system gives.
    """
    final = Path(final)
    _remove_abandoned(final)
    temporary = final.with_name(f"{_prefix(final)}{os.getpid()}-{next(_NUMBER)}{final.suffix}")
    try:
        yield temporary
    except OSError as error:
        if _is_ours(error, temporary):
            raise OutputError(write_message(final, error)) from error
        raise
    finally:
        _remove(temporary)


def make_folder(folder: str | Path) -> Path:
    """Make a folder, and try at once whether files can be written there.

    Raises:
        OutputError: it cannot be made, is no folder, is not writable, or its name is not UTF-8.
    """
    folder = Path(folder)
    check_name(folder, OutputError)
    trial = folder / f".nubila-{socket.gethostname()}-{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except FileExistsError as error:
        raise OutputError(f"{folder}: there is a file of this name; name a folder") from error
    except OSError as error:
        raise OutputError(write_message(folder, error)) from error
    return folder


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Make a folder as `make_folder` does; if the body fails, take away what stayed empty.

    Raises:
        OutputError: it cannot be made, is no folder, or is not writable.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield make_folder(folder)
    except BaseException:
        with suppress(OSError):  # that of a folder which is not empty
            for path in made:
                path.rmdir()
        raise


def check_folder(folder: str | Path) -> Path:
    """Find out whether a folder can be written to, or made, without leaving anything behind.

    Raises:
        OutputError: it cannot be made, is no folder, is not writable, or its name is not UTF-8.
    """
    folder = Path(folder)
    check_name(folder, OutputError)
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there == folder or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        make_folder(folder)  # which tries, or fails with the system's own reason
    return folder


def _prefix(final: Path) -> str:
    # The host is in the name because a folder shared by a cluster holds files of processes that
    # cannot be seen from here.
    return f".{final.stem}.part-{socket.gethostname()}-"


def _remove_abandoned(final: Path) -> None:
    """Remove temporary files for `final` whose process on this host is gone."""
    prefix = _prefix(final)
    # A file that got its name in time may have left behind what belongs beside it.
    ends = tuple(f"{final.suffix}{end}" for end in ("", *_BESIDE))
    with suppress(OSError):
        for path in final.parent.iterdir():
            name = path.name
            if name.startswith(prefix) and name.endswith(ends):
                process = name.removeprefix(prefix).partition("-")[0]
                if process.isdecimal() and not _is_running(int(process)):
                    _remove(path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def flush(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk before it is relied on.

    Raises:
        OSError: the system cannot; its `filename` is the path.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(handle)


def _remove(temporary: Path) -> None:
    for path in (temporary, *(Path(f"{temporary}{end}") for end in _BESIDE)):
        with suppress(OSError):
            path.unlink()


def _is_ours(error: OSError, temporary: Path) -> bool:
    """Tell errors of writing from those of reading something else inside the body."""
    names = (str(name) for name in (error.filename, error.filename2) if name is not None)
    return _is_full(error) or any(name.startswith(str(temporary)) for name in names)


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_message(path: Path, error: OSError) -> str:
    """Say that a file or folder cannot be written, why, and what helps."""
    remedy = _REMEDIES.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
    return f"{path}: cannot be written: {remedy}"
