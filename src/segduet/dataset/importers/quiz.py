"""F01: the pancreas quiz, `{train,validation}/subtype{0,1,2}/quiz_<subtype>_<case>[_0000].nii.gz`.

Test images are `test/quiz_<case>_0000.nii.gz`. The subtype is the folder's; the name must agree.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from segduet.core.cases import CaseRecord, Split
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.dataset.importers.labels import label_entries
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.listing import by_name, visible_files, visible_folders
from segduet.dataset.source import SourceCase, SourceDataset

_LESION = "pancreas_lesion"
_SUBTYPE = TaskSpec(name="subtype", classes=("0", "1", "2"), evidence_region=_LESION)
_SPLITS = {"train": "train", "validation": "val"}
_CHANNEL_SUFFIX = "_0000"
_CASE_NAME = re.compile(r"quiz_(\d+)_\d+")
_TEST_NAME = re.compile(r"quiz_\d+")


def read_quiz(root: Path, options: ImportOptions) -> SourceDataset:
    """Finds the cases of the quiz layout.

    Args:
        root: folder with `train`, and `validation` and `test` where they exist.
        options: `channel_names` (default `CT`) and `region_mode` (default nested: the whole
            pancreas holds the lesion).

    Raises:
        RequestError: an option was given that has no effect here.
        DataError: a folder or file that does not fit the layout, a name that contradicts its
            folder, an image or mask without the other, or an id in two places.
    """
    options.require_only("quiz", "channel_names", "region_mode")
    _require_train_folder(root)
    cases = [
        case
        for folder, split in _SPLITS.items()
        for subtype in _subtype_folders(root / folder)
        for case in _labelled_cases(subtype, split=cast(Split, split))
    ]
    cases.extend(_test_cases(root / "test"))
    _refuse_repeated(cases)
    mode = options.region_mode or RegionMode.NESTED
    organ = "whole_pancreas" if mode == RegionMode.NESTED else "pancreas"
    labels, order = label_entries((organ, _LESION), mode)
    return SourceDataset(
        where=str(root),
        cases=tuple(cases),
        tasks=(_SUBTYPE,),
        channel_names=options.channel_names or ("CT",),
        labels=labels,
        regions_class_order=order,
    )


def _require_train_folder(root: Path) -> None:
    if not (root / "train").is_dir():
        raise DataError(
            str(root),
            found="no folder `train`",
            expected="train/subtype0 ... subtype2, and validation and test beside it",
            remedy="Point to the folder that holds `train`.",
        )


def _subtype_folders(split_folder: Path) -> list[Path]:
    strays = visible_files(split_folder)
    folders = visible_folders(split_folder)
    wrong = [f for f in folders if f.name.removeprefix("subtype") not in _SUBTYPE.classes]
    if strays or wrong:
        raise DataError(
            str((strays + wrong)[0]),
            found="an entry that is no subtype folder",
            expected="only subtype0, subtype1 and subtype2 here",
            remedy="Move it to the subtype it belongs to, or remove it.",
        )
    return folders


def _labelled_cases(folder: Path, *, split: Split) -> Iterator[SourceCase]:
    subtype = folder.name.removeprefix("subtype")
    files = by_name(visible_files(folder))
    for name in sorted({n.removesuffix(_CHANNEL_SUFFIX) for n in files}):
        image, mask = files.get(name + _CHANNEL_SUFFIX), files.get(name)
        if image is None or mask is None:
            raise DataError(
                str(image or mask),
                found="an image without a mask" if image else "a mask without an image",
                expected=f"both {name}{_CHANNEL_SUFFIX} and {name}",
                remedy="Add the missing file or remove this one.",
            )
        match = _CASE_NAME.fullmatch(name)
        if match is None or match[1] != subtype:
            raise DataError(
                str(image),
                found=f"the name {name!r} in {folder.name}",
                expected=f"quiz_{subtype}_<number>: folder and name must agree on the subtype",
                remedy="Find out which of the two is right, and rename or move the files.",
            )
        record = CaseRecord(case=name, patient=name, split=split, labels={_SUBTYPE.name: subtype})
        yield SourceCase(record=record, images=(image,), mask=mask)


def _test_cases(folder: Path) -> Iterator[SourceCase]:
    for name, path in by_name(visible_files(folder)).items():
        case = name.removesuffix(_CHANNEL_SUFFIX)
        if case == name or _TEST_NAME.fullmatch(case) is None:
            raise DataError(
                str(path),
                found="a test file of another name",
                expected="quiz_<number>_0000 with the ending of the images",
                remedy="Rename or remove it.",
            )
        record = CaseRecord(case=case, patient=case, split="test")
        yield SourceCase(record=record, images=(path,), mask=None)


def _refuse_repeated(cases: list[SourceCase]) -> None:
    first: dict[str, SourceCase] = {}
    for case in cases:
        other = first.setdefault(case.record.case, case)
        if other is not case:
            raise DataError(
                f"case {case.record.case!r}",
                found=f"it twice: {other.images[0]} and {case.images[0]}",
                expected="every id once over train, validation and test",
                remedy="Remove one; if they are two patients, rename one.",
            )
