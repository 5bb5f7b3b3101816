"""The same work on many cases, in threads: decoders and NumPy leave the interpreter free."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_threaded(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> list[R]:
    """Results in the order of the items; the first error is raised once running work has ended.

    Args:
        function: called once per item, from several threads at a time.
        items: the work.
        workers: threads, at least 1.
    """
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(function, items))
