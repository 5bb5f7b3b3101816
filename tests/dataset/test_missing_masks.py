"""B03: cases without a mask on purpose, from a user's folder into a raw dataset, and its check."""

from dataclasses import replace

import pytest

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.files import read_json
from segduet.dataset.check import check_dataset
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.registry import IMPORTERS
from segduet.dataset.raw_writer import write_raw
from segduet.dataset.summary import summarize_dataset


def load(root, **options):
    return IMPORTERS["table"](root, ImportOptions(**options))


@pytest.fixture
def volumes(files, tmp_path):
    """Four cases: `c` has no mask, `d` no class."""
    root = tmp_path / "user"
    for seed, case in enumerate("abcd"):
        files.image(root / "images" / f"{case}.nii.gz", seed=seed)
        if case != "c":
            files.mask(root / "masks" / f"{case}.nii.gz")
    rows = [("a", "x"), ("b", "y"), ("c", "x"), ("d", "")]
    files.table(root / "cases.csv", ["case", "class"], *rows)
    return root


@pytest.fixture
def mixed(volumes, target):
    """The raw dataset of `volumes`."""
    summary = write_raw(load(volumes, allow_missing_masks=True), target, 1)
    return summary, target


def test_a_missing_mask_stays_an_error_until_it_is_allowed(volumes, target):
    """The message says how to allow it."""
    with pytest.raises(DataError, match=r"'c'.*without a mask.*--allow-missing-masks"):
        write_raw(load(volumes), target, 1)
    assert not target.raw.exists()


def test_images_without_a_mask_get_a_folder_of_their_own(mixed):
    summary, folders = mixed
    found = {p.relative_to(folders.raw).as_posix() for p in folders.raw.rglob("*.nii.gz")}
    assert found == {
        *(f"imagesTr/{case}_0000.nii.gz" for case in "abd"),
        *(f"labelsTr/{case}.nii.gz" for case in "abd"),
        "imagesUnlabelled/c_0000.nii.gz",
    }
    assert (summary.num_training, summary.num_unlabelled, summary.num_test) == (3, 1, 0)
    assert read_json(folders.raw / "import-audit.json")["num_unlabelled"] == 1
    assert DatasetDescription.read(folders.raw / "dataset.json").num_training == 3
    assert (folders.raw / "cases.csv").read_text().splitlines()[1:] == [
        "a,a,,,x",
        "b,b,,,y",
        "c,c,,,x",
        "d,d,,,",
    ]


def test_stock_nnunet_accepts_the_dataset(mixed, nnunets_verdict):
    """B11: it demands a mask for everything in imagesTr, and finds one."""
    _, folders = mixed
    assert "verify_dataset_integrity Done" in nnunets_verdict(folders)


def test_check_counts_them_as_information(mixed):
    """No finding; the summary says how many."""
    _, folders = mixed
    assert not [f for f in check_dataset(folders, 1) if f.case == "c" or f.severity == "error"]
    summary = summarize_dataset(folders)
    assert (summary.num_images, summary.num_masks, summary.num_unlabelled) == (4, 3, 1)


def test_check_finds_what_is_in_the_wrong_place(mixed, files):
    """A mask that nobody would read, a case in two folders, and a mask that is truly missing."""
    _, folders = mixed
    files.mask(folders.masks / "c.nii.gz")
    files.image(folders.unlabelled_images / "a_0000.nii.gz")
    (folders.masks / "b.nii.gz").unlink()
    unread = "There is a mask, but the image is in imagesUnlabelled, where none is looked for."
    errors = {(f.case, f.message) for f in check_dataset(folders, 1) if f.severity == "error"}
    assert errors >= {
        ("a", "The case is in more than one of the folders of images, or of masks."),
        ("a", unread),
        ("b", "There is a training image, but no mask."),
        ("c", unread),
    }


def test_an_nnunet_dataset_with_such_a_folder_is_imported_again(mixed, tmp_path):
    """B01: only when asked to."""
    _, folders = mixed
    options = ImportOptions(labels_table=folders.raw / "cases.csv")
    again = folders.raw.with_name("Dataset502_again")
    copy = replace(folders, name=again.name, raw=again)
    with pytest.raises(DataError, match=r"'c'.*without a mask"):
        write_raw(IMPORTERS["nnunet"](folders.raw, options), copy, 1)
    allowed = replace(options, allow_missing_masks=True)
    assert write_raw(IMPORTERS["nnunet"](folders.raw, allowed), copy, 1).num_unlabelled == 1


def test_a_case_with_neither_mask_nor_class_is_refused(volumes, target):
    (volumes / "masks" / "d.nii.gz").unlink()
    with pytest.raises(DataError, match=r"'d'.*neither a mask nor a class"):
        write_raw(load(volumes, allow_missing_masks=True), target, 1)


def test_a_dataset_without_any_mask_is_refused(volumes, target):
    """One clear message, whether or not the labels were named; test cases' masks do not count."""
    for mask in (volumes / "masks").iterdir():
        mask.unlink()
    table = volumes / "cases.csv"
    table.write_text(table.read_text().replace("d,", "d,x"))
    with pytest.raises(DataError, match=r"masks: found not a single one"):
        load(volumes, allow_missing_masks=True)
    with pytest.raises(DataError, match=r"masks: found not a single one"):
        load(volumes, allow_missing_masks=True, label_values=(1,))


def test_masks_of_test_cases_alone_do_not_make_a_dataset(volumes, target, files):
    rows = [("a", "x", "test"), ("b", "y", "train"), ("c", "x", "train"), ("d", "y", "train")]
    files.table(volumes / "cases.csv", ["case", "class", "split"], *rows)
    for case in "bd":
        (volumes / "masks" / f"{case}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"3 cases for training, none with a mask"):
        write_raw(load(volumes, allow_missing_masks=True), target, 1)
