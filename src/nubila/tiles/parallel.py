"""Work done side by side that comes out in order, a few things ahead and no more."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["map_in_order"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None = None
) -> Iterator[_Result]:
    """Yield the function of each item in order, computed by threads.

    At most workers + 1 results wait, however slow the caller is, so that memory stays bounded. An
    exception surfaces at its item's turn, and nothing further is begun.

    Args:
        function: releases the interpreter's lock where it is to gain (reading, NumPy).
        items: taken as they are needed.
        workers: threads; default one a processor.
    """
    count = workers or os.cpu_count() or 1
    rest = iter(items)
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[_Result]] = deque(
            pool.submit(function, item) for item in islice(rest, count + 1)
        )
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
        finally:
            for future in waiting:
                future.cancel()
