"""A memory of what was computed, bounded in bytes; nothing is computed twice at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Cache"]

_Value = TypeVar("_Value")


class Cache(Generic[_Value]):
    """Values by key; those that were not asked for the longest go first.

    Args:
        most: bytes that all values together may take; the newest stays whatever its size.
        size: bytes of a value.
    """

    def __init__(self, most: int, size: Callable[[_Value], int]) -> None:
        self._most, self._size = most, size
        self._held: OrderedDict[Hashable, Future[_Value]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return a value, made by the first thread that asks while the others wait for it.

        What `make` raises reaches all that wait, and is not remembered.
        """
        with self._lock:
            future = self._held.get(key)
            if future is not None:
                self._held.move_to_end(key)
            else:
                mine = self._held[key] = Future()
        if future is not None:
            return future.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._held[key]
            mine.set_exception(error)
            raise
        mine.set_result(value)
        self._make_room(value)
        return value

    def _make_room(self, value: _Value) -> None:
        with self._lock:
            self._bytes += self._size(value)
            done = [key for key, future in self._held.items() if future.done()]
            for key in done[:-1]:
                if self._bytes <= self._most:
                    return
                self._bytes -= self._size(self._held.pop(key).result())
