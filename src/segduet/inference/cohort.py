"""Many cases: reading, predicting and writing overlap, and one broken case stops no other (F80)."""

import contextlib
import functools
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from segduet.core.errors import RequestError, SegduetError
from segduet.core.prediction import FailedCase, Prediction
from segduet.core.volume import Volume
from segduet.inference.case_input import CaseInput

log = logging.getLogger(__name__)

Outcome = Prediction | FailedCase

#: An outcome, and its writing where there is something to write.
_Unsettled = tuple[Outcome, Future[None] | None]


def predict_cohort(
    cases: Sequence[CaseInput],
    *,
    read: Callable[[Sequence[Path]], Volume],
    predict: Callable[[str, Volume], Prediction],
    write: Callable[[Prediction], None],
    at_once: int = 1,
) -> Iterator[Outcome]:
    """Predicts the cases one after the other and yields what became of each, in their order.

    While a case is predicted, one thread reads the next and one writes the last; at most one image
    and one prediction wait. A prediction is yielded once it is written. A case that cannot be read
    or predicted is yielded as `FailedCase` and the others go on. Where the run stops early, what
    was begun to be written is finished and all threads have ended when the error arrives; a case
    written by then is still yielded before `KeyboardInterrupt` or `RequestError` is raised.

    Args:
        cases: what to predict.
        read: image files in channel order -> image.
        predict: case id and image -> prediction; runs in the caller's thread, unless several do.
        write: stores a prediction; its errors stop the run.
        at_once: how many cases are predicted side by side, each by a thread of its own, which also
            reads it; as many again may wait to be written.

    Raises:
        RequestError: reading or predicting found the request wrong, which no other case can mend.
        StorageError: raised by `write`, such as a full disk.
    """
    answer = _side_by_side(cases, read, predict, at_once) if at_once > 1 else None
    with (
        ThreadPoolExecutor(1, thread_name_prefix="segduet-write") as writer,
        contextlib.closing(answer or _one_by_one(cases, read, predict)) as outcomes,
    ):
        last: _Unsettled | None = None
        try:
            for outcome in outcomes:
                settled = _settled(last)
                last = (outcome, _writing(writer, outcome, write))
                yield from settled
        except (KeyboardInterrupt, RequestError):
            yield from _settled(last)
            raise
        yield from _settled(last)


def _one_by_one(
    cases: Sequence[CaseInput],
    read: Callable[[Sequence[Path]], Volume],
    predict: Callable[[str, Volume], Prediction],
) -> Generator[Outcome]:
    """Outcomes of predicting in the caller's thread; the next case is read meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="segduet-read") as reader:
        readings = (reader.submit(read, case.image_paths) for case in cases)
        upcoming = next(readings, None)
        for case in cases:
            assert upcoming is not None
            current, upcoming = upcoming, next(readings, None)
            yield _outcome(case, current.result, predict)


def _side_by_side(
    cases: Sequence[CaseInput],
    read: Callable[[Sequence[Path]], Volume],
    predict: Callable[[str, Volume], Prediction],
    at_once: int,
) -> Generator[Outcome]:
    """Outcomes in the order of the cases, which several threads read and predict."""
    waiting: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="segduet-case") as threads:
        try:
            for case in cases:
                image = functools.partial(read, case.image_paths)
                waiting.append(threads.submit(_outcome, case, image, predict))
                if len(waiting) == 2 * at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _outcome(
    case: CaseInput, image: Callable[[], Volume], predict: Callable[[str, Volume], Prediction]
) -> Outcome:
    try:
        return predict(case.case, image())
    except RequestError:
        raise
    except SegduetError as error:
        return FailedCase(case=case.case, message=_one_line(str(error)))
    except Exception as error:
        # our bug or a library's: this case is lost, loudly, the others are not
        log.exception("case %s could not be predicted", case.case)
        return FailedCase(case=case.case, message=_one_line(f"{type(error).__name__}: {error}"))


def _writing(
    writer: ThreadPoolExecutor, outcome: Outcome, write: Callable[[Prediction], None]
) -> Future[None] | None:
    return writer.submit(write, outcome) if isinstance(outcome, Prediction) else None


def _settled(unsettled: _Unsettled | None) -> list[Outcome]:
    """The outcome, once it is written; nothing before the first case."""
    if unsettled is None:
        return []
    outcome, writing = unsettled
    if writing is not None:
        writing.result()
    return [outcome]


def _one_line(message: str) -> str:
    return " ".join(message.split())
