"""Whether a file is the same as it was: its content as a hash, read once a process."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

__all__ = ["content_hash"]


def content_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file in hexadecimal digits, or None where it cannot be read.

    Where a file lies and when it was written make no difference. It is read again only if its size
    or its time of change is another than when this process last asked.
    """
    try:
        status = path.stat()
        return _hashed(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


# Many images share one large mask or map of heights, and every network of a step asks for all
# images in turn: each file is read once. With fewer places than images none would be found again.
@lru_cache(maxsize=1 << 16)
def _hashed(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
