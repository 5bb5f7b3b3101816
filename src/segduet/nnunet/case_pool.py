"""Work on many cases, in this process or in several, with errors that name the case."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from segduet.core.errors import SegduetError

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_on_cases(
    function: Callable[[str, Item], Result], items: Mapping[str, Item], *, workers: int
) -> Iterator[tuple[str, Result]]:
    """Pairs of case id and `function(case, item)`, as they are finished.

    Args:
        function: importable by name (or a partial of such), since workers are fresh processes.
        items: case id -> what the function needs of it.
        workers: processes; 1 or less works in this one, in the order of `items`.

    Raises:
        SegduetError: the function's own, or one that names the case where it raised another kind;
            if a worker process died, one that names the cases it may have been working on.
    """
    named = partial(_named, function)
    if workers > 1:
        yield from _in_pool(named, items, workers)
    else:
        for case, item in items.items():
            yield case, named(case, item)


def _named(function: Callable[[str, Item], Result], case: str, item: Item) -> Result:
    try:
        return function(case, item)
    except SegduetError:
        raise
    except Exception as error:
        raise SegduetError(
            f"case {case!r}",
            found=f"{type(error).__name__}: {error}",
            expected="an image and a mask that can be worked with",
            remedy="Run `segduet check`; if it finds nothing, report this message.",
        ) from error


def _in_pool(
    function: Callable[[str, Item], Result], items: Mapping[str, Item], workers: int
) -> Iterator[tuple[str, Result]]:
    """Hands out one case per worker at a time, so that a dead worker's cases are known."""
    waiting = iter(items.items())
    running: dict[Future[Result], str] = {}
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        # One thread each: workers times BLAS threads would fight for the cores.
        initializer=partial(threadpool_limits, 1),
    )
    try:
        while True:
            for case, item in islice(waiting, workers - len(running)):
                running[pool.submit(function, case, item)] = case
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future), result
    except BrokenProcessPool as error:
        raise _worker_died(sorted(running.values())) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _worker_died(cases: Sequence[str]) -> SegduetError:
    return SegduetError(
        f"case {', '.join(cases)}",
        found="a worker process that was killed",
        expected="workers that live until their case is done",
        remedy="Memory probably ran out: use fewer --workers. Finished cases are kept.",
    )
