"""Many cases: reading, predicting and writing overlap, and one broken case stops no other (F80)."""

import logging
from collections.abc import Callable, Iterator, Sequence
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
) -> Iterator[Outcome]:
    """Predicts the cases one after the other and yields what became of each, in their order.

    While a case is predicted, one thread reads the next and one writes the last; at most one image
    and one prediction wait. A prediction is yielded once it is written. A case that cannot be read
    or predicted is yielded as `FailedCase` and the others go on. Where the run stops early, what
    was begun to be written is finished and both threads have ended when the error arrives; a case
    written by then is still yielded before `KeyboardInterrupt` or `RequestError` is raised.

    Args:
        cases: what to predict.
        read: image files in channel order -> image.
        predict: case id and image -> prediction; runs in the caller's thread.
        write: stores a prediction; its errors stop the run.

    Raises:
        RequestError: reading or predicting found the request wrong, which no other case can mend.
        StorageError: raised by `write`, such as a full disk.
    """
    with (
        ThreadPoolExecutor(1, thread_name_prefix="segduet-read") as reader,
        ThreadPoolExecutor(1, thread_name_prefix="segduet-write") as writer,
    ):
        last: _Unsettled | None = None
        try:
            for case, reading in _read_ahead(reader, cases, read):
                outcome = _outcome(case, reading, predict)
                settled = _settled(last)
                last = (outcome, _writing(writer, outcome, write))
                yield from settled
        except (KeyboardInterrupt, RequestError):
            yield from _settled(last)
            raise
        yield from _settled(last)


def _read_ahead(
    reader: ThreadPoolExecutor,
    cases: Sequence[CaseInput],
    read: Callable[[Sequence[Path]], Volume],
) -> Iterator[tuple[str, Future[Volume]]]:
    """Each case with its reading; the reading of the next one has been started by then."""
    readings = (reader.submit(read, case.image_paths) for case in cases)
    upcoming = next(readings, None)
    for case in cases:
        assert upcoming is not None
        current, upcoming = upcoming, next(readings, None)
        yield case.case, current


def _outcome(
    case: str, reading: Future[Volume], predict: Callable[[str, Volume], Prediction]
) -> Outcome:
    try:
        return predict(case, reading.result())
    except RequestError:
        raise
    except SegduetError as error:
        return FailedCase(case=case, message=_one_line(str(error)))
    except Exception as error:
        # our bug or a library's: this case is lost, loudly, the others are not
        log.exception("case %s could not be predicted", case)
        return FailedCase(case=case, message=_one_line(f"{type(error).__name__}: {error}"))


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
