"""B04: checks whether images show the same, and what that means for folds and labels."""

from collections.abc import Iterator, Mapping, Sequence

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.dataset.duplicates import SimilarPair, similar_pairs
from segduet.dataset.findings import Finding, FindingKind, error_about, warning_about
from segduet.dataset.folds import Fold
from segduet.dataset.listing import RawFiles
from segduet.dataset.parallel import map_threaded
from segduet.dataset.thumbnails import Thumbnail, thumbnail
from segduet.io.images import read_stored_image


def check_duplicates(
    files: RawFiles,
    records: Sequence[CaseRecord],
    tasks: Sequence[TaskSpec],
    folds: Sequence[Fold],
    *,
    workers: int,
) -> Iterator[Finding]:
    """Copies, flips, re-encodings and crops among the images of a raw dataset.

    Two patients' images that show the same are an error where they are in different splits, or on
    both sides of a fold, and otherwise a warning: the next folds may divide them. Images that show
    the same but have different classes are a warning, be they of one patient or two. Images that
    cannot be read, are constant or have fewer than 32 pixels along an axis of the slice are not
    compared.

    Args:
        files: files of the dataset.
        records: rows of its table; a case without one counts as a patient of its own.
        tasks: tasks whose labels are compared.
        folds: folds in use, if any.
        workers: images read, and pairs compared, at the same time.
    """
    read = map_threaded(lambda c: _thumbnail(c, files), sorted(files.images), workers=workers)
    known = [small for small in read if small is not None]
    record_of = {record.case: record for record in records}
    for pair in similar_pairs(known, workers=workers):
        yield from _pair_findings(pair, record_of, tasks, folds)


def _thumbnail(case: str, files: RawFiles) -> Thumbnail | None:
    """None also where the image cannot be read, which `check_case` tells."""
    try:
        return thumbnail(case, read_stored_image(files.images[case]).array)
    except DataError:
        return None


def _pair_findings(
    pair: SimilarPair,
    record_of: Mapping[str, CaseRecord],
    tasks: Sequence[TaskSpec],
    folds: Sequence[Fold],
) -> Iterator[Finding]:
    first, second = (
        record_of.get(case) or CaseRecord(case=case, patient=case)
        for case in (pair.first, pair.second)
    )
    alike = f"The image shows the same as that of {second.case!r} ({pair.correlation:.2f})"
    if first.patient != second.patient:
        place = _divided_by(first, second, folds)
        report = error_about if place else warning_about
        yield report(
            FindingKind.NEAR_DUPLICATE,
            first.case,
            f"{alike}, of another patient{place}.",
            "Give both cases the same patient in cases.csv and make the folds again, or remove "
            "one of them.",
        )
    for task in tasks:
        labels = [record.labels.get(task.name) for record in (first, second)]
        if task.kind != "regression" and None not in labels and labels[0] != labels[1]:
            yield warning_about(
                FindingKind.LABEL_CONFLICT,
                first.case,
                f"{alike}, but {task.name!r} is {labels[0]!r} here and {labels[1]!r} there.",
                "Correct the class, or empty both cells.",
            )


def _divided_by(first: CaseRecord, second: CaseRecord, folds: Sequence[Fold]) -> str:
    """Which split or fold puts the two cases on different sides; empty where none does."""
    if first.split != second.split:
        return f", in {first.split or 'no split'} and {second.split or 'no split'}"
    for number, fold in enumerate(folds):
        sides = [{first.case, second.case} & set(side) for side in (fold.train, fold.val)]
        if all(sides):
            return f", on both sides of fold {number}"
    return ""
