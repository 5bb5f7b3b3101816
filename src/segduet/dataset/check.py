"""Checks a raw dataset as a whole, without stopping at the first problem."""

from collections.abc import Iterator, Sequence

from segduet.core.cases import CaseRecord
from segduet.core.description import DatasetDescription
from segduet.core.folders import DatasetFolders
from segduet.dataset.case_check import check_case
from segduet.dataset.duplicate_check import check_duplicates
from segduet.dataset.findings import Finding, FindingKind, error_about
from segduet.dataset.fold_check import check_folds
from segduet.dataset.listing import CASES_FILE, DESCRIPTION_FILE, RawFiles, list_raw_files
from segduet.dataset.name_leak import check_class_in_names
from segduet.dataset.parallel import map_threaded
from segduet.dataset.table_check import check_table


def check_dataset(
    folders: DatasetFolders, workers: int, *, compares_images: bool = True
) -> tuple[Finding, ...]:
    """Everything wrong with a dataset's files, images, masks, labels, table and folds.

    Args:
        folders: the dataset; `raw` must hold a dataset.json.
        workers: cases read at the same time.
        compares_images: whether to look for images that show the same.

    Returns:
        Findings on files, then on each case, on the table, on the folds, on images that show the
        same, on case ids; empty where all is well.

    Raises:
        DataError: dataset.json is missing or unusable, so that nothing can be checked.
    """
    description = DatasetDescription.read(folders.raw / DESCRIPTION_FILE)
    files = list_raw_files(folders, description.file_ending)
    records, table_findings = check_table(folders.raw / CASES_FILE, description.tasks)
    folds, fold_findings = check_folds(folders.splits_file, records)
    cases = sorted({*files.images, *files.masks})
    per_case = map_threaded(
        lambda case: check_case(case, files, description), cases, workers=workers
    )
    pairs = (
        check_duplicates(files, records, description.tasks, folds, workers=workers)
        if compares_images
        else ()
    )
    return (
        *_file_findings(files, description),
        *_row_findings(cases, records),
        *(finding for found in per_case for finding in found),
        *table_findings,
        *fold_findings,
        *pairs,
        *check_class_in_names(records, description.tasks),
    )


def _file_findings(files: RawFiles, description: DatasetDescription) -> Iterator[Finding]:
    ending = description.file_ending
    for path in files.strays:
        place = f"{path.parent.name}/{path.name}"
        message = f"{place} is no image <case>_0000{ending} and no mask <case>{ending}."
        yield error_about(FindingKind.FILES, "", message, "Rename or remove it.")
    for case in files.repeated:
        message = "The case is in more than one of the folders of images, or of masks."
        yield error_about(FindingKind.FILES, case, message, "Remove all but one.")
    elsewhere = files.test_cases | files.unlabelled
    declared, found = description.num_training, len(files.images.keys() - elsewhere)
    if found != declared:
        message = f"dataset.json says numTraining {declared}, imagesTr has {found} cases."
        remedy = "Correct numTraining, or restore the missing images."
        yield error_about(FindingKind.FILES, "", message, remedy)


def _row_findings(cases: Sequence[str], records: Sequence[CaseRecord]) -> Iterator[Finding]:
    in_table = {record.case for record in records}
    for case in sorted(set(cases) - in_table):
        message = f"There are files of this case, but no row in {CASES_FILE}."
        remedy = "Add the row (leave the class empty where it is unknown) or remove the files."
        yield error_about(FindingKind.FILES, case, message, remedy)
    for case in sorted(in_table - set(cases)):
        message = f"{CASES_FILE} has a row for this case, but there are no files."
        yield error_about(FindingKind.FILES, case, message, "Add the files or remove the row.")
