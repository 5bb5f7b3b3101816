"""Work on independent parts of arrays side by side: numpy lets other threads run meanwhile."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

#: More threads than this have nothing to win: memory is what they wait for.
_MOST_THREADS = 8


def for_each(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Calls `work` with every item, on all cores; all threads have ended when it returns.

    Which thread takes which item must change no number, so items share nothing that is written.

    Raises:
        Exception: the first error of `work`.
    """
    waiting = list(items)
    num_threads = min(os.cpu_count() or 1, _MOST_THREADS, len(waiting))
    if num_threads <= 1:
        for item in waiting:
            work(item)
        return
    with ThreadPoolExecutor(num_threads, thread_name_prefix="segduet-part") as threads:
        list(threads.map(work, waiting))
