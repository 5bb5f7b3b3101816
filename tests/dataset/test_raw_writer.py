"""F02: the nnU-Net raw folder, its case table and its audit."""

import errno
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import tifffile

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.files import sha256
from segduet.core.tasks import TaskSpec
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.quiz import read_quiz
from segduet.dataset.importers.table import read_table
from segduet.dataset.raw_writer import write_raw
from segduet.dataset.source import SourceCase, SourceDataset
from segduet.io.images import read_image, read_label_map

AFFINE = np.array([[0.7, 0, 0, -10], [0, 0.8, 0, 20], [0, 0, 3.0, 5], [0, 0, 0, 1.0]])
TASK = TaskSpec(name="kind", classes=("x", "y"))


def dataset(*cases, channel_names=("CT",), labels=None):
    return SourceDataset(
        where="somewhere",
        cases=cases,
        tasks=(TASK,),
        channel_names=channel_names,
        labels=labels or {"background": 0, "one": 1, "two": 2},
    )


@pytest.fixture
def case(tmp_path, files):
    """Makes a case with an image and a mask, either of which may be replaced."""

    def build(name="a", *, split="train", image=None, mask=None, without_mask=False):
        folder = tmp_path / "user"
        image = image or files.image(folder / f"{name}-scan.nii.gz")
        if not without_mask:
            mask = mask or files.mask(folder / f"{name}-mask.nii.gz")
        images = image if isinstance(image, tuple) else (image,)
        record = CaseRecord(case=name, patient=name, split=split, labels={"kind": "x"})
        return SourceCase(record=record, images=images, mask=mask)

    return build


def assert_nothing_written(target):
    assert not target.raw.parent.exists() or list(target.raw.parent.iterdir()) == []


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_quiz_becomes_nnunets_layout(quiz, target):
    """F02: imagesTr, labelsTr, imagesTs, dataset.json, cases.csv."""
    summary = write_raw(read_quiz(quiz, ImportOptions()), target, workers=2)
    training = ["quiz_0_005", "quiz_0_041", "quiz_1_007", "quiz_2_006", "quiz_2_100"]
    assert names(target.raw) == [
        "cases.csv",
        "dataset.json",
        "imagesTr",
        "imagesTs",
        "import-audit.json",
        "labelsTr",
    ]
    assert names(target.images) == [f"{c}_0000.nii.gz" for c in training]
    assert names(target.masks) == [f"{c}.nii.gz" for c in training]
    assert names(target.test_images) == ["quiz_037_0000.nii.gz", "quiz_038_0000.nii.gz"]
    assert (summary.num_training, summary.num_test) == (5, 2)
    assert summary.class_counts == {"subtype": {"0": 2, "1": 1, "2": 2}}

    content = json.loads((target.raw / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "whole_pancreas": [1, 2], "pancreas_lesion": 2}
    assert content["regions_class_order"] == [1, 2]
    assert content["numTraining"] == 5
    assert content["file_ending"] == ".nii.gz"
    assert content["channel_names"] == {"0": "CT"}
    description = DatasetDescription.read(target.raw / "dataset.json")
    assert description.tasks[0].evidence_region == "pancreas_lesion"

    table = CaseTable.read(target.raw / "cases.csv", description.tasks)
    assert table.of_split("val") == ("quiz_0_005", "quiz_2_006")
    assert table.of_split("test") == ("quiz_037", "quiz_038")
    assert table.record("quiz_2_100").labels == {"subtype": "2"}
    assert table.record("quiz_037").labels == {}


def test_image_bytes_and_sound_mask_bytes_are_unchanged(quiz, target):
    """F02."""
    source = read_quiz(quiz, ImportOptions())
    write_raw(source, target, workers=1)
    for case in source.cases:
        folder = target.test_images if case.is_test else target.images
        assert sha256(folder / f"{case.record.case}_0000.nii.gz") == sha256(case.images[0])
        if case.mask:
            assert sha256(target.masks / case.mask.name) == sha256(case.mask)


def test_nnunet_finds_the_dataset_sound(quiz, target, nnunets_verdict):
    """F02: verify_dataset_integrity, on regions."""
    write_raw(read_quiz(quiz, ImportOptions()), target, workers=1)
    assert "your dataset is most likely OK" in nnunets_verdict(target)


def test_nnunet_finds_imported_pictures_sound(pictures, target, nnunets_verdict):
    """F02 for 2D: masks of 0 and 255 arrive as 0 and 1."""
    write_raw(read_table(pictures, ImportOptions()), target, workers=1)
    assert "your dataset is most likely OK" in nnunets_verdict(target)


def test_repairs_are_counted_in_the_audit(case, files, target, tmp_path):
    """F04: files, voxels and the largest error."""
    labels = np.zeros((6, 5, 4))
    labels[:2] = 1
    bad = files.seed_defect(tmp_path / "seed.nii.gz", labels)
    summary = write_raw(dataset(case("a", mask=bad), case("b")), target, workers=1)
    audit = json.loads((target.raw / "import-audit.json").read_text())
    assert audit == summary.to_json()
    assert (audit["masks"], audit["masks_changed"], audit["voxels_rounded"]) == (2, 1, 40)
    assert audit["max_error"] == pytest.approx(1.52587890625e-05)
    assert [entry["case"] for entry in audit["changed"]] == ["a"]
    written = read_label_map(target.masks / "a.nii.gz").array
    assert written.dtype == np.uint8
    assert set(np.unique(written)) == {0, 1}


def test_value_map_is_recorded(pictures, target):
    summary = write_raw(read_table(pictures, ImportOptions()), target, workers=1).to_json()
    assert summary["value_map"] == {"255": 1}
    assert (summary["masks_changed"], summary["voxels_remapped"]) == (4, 8)


def test_test_case_with_a_mask_goes_to_the_test_folders(case, target):
    summary = write_raw(dataset(case("a"), case("b", split="test")), target, workers=1)
    assert (summary.num_training, summary.num_test) == (1, 1)
    assert names(target.raw / "labelsTs") == ["b.nii.gz"]
    assert names(target.masks) == ["a.nii.gz"]


def test_channels_are_numbered_in_order(case, files, target, tmp_path):
    channels = tuple(files.image(tmp_path / f"c{i}.nii.gz", seed=i) for i in (3, 1))
    write_raw(dataset(case("a", image=channels), channel_names=("T1", "T2")), target, workers=1)
    for number, path in enumerate(channels):
        assert sha256(target.images / f"a_000{number}.nii.gz") == sha256(path)


def test_four_axes_are_split_into_channels_with_the_same_numbers(case, files, target, tmp_path):
    """As the Medical Segmentation Decathlon stores several channels."""
    stack = np.arange(6 * 5 * 4 * 2, dtype=np.int16).reshape(6, 5, 4, 2)
    path = files.nifti(tmp_path / "stack.nii.gz", stack)
    summary = write_raw(dataset(case("a", image=path), channel_names=("T1", "T2")), target, 1)
    image = read_image([target.images / f"a_000{c}.nii.gz" for c in (0, 1)])
    np.testing.assert_array_equal(image.array, stack.T)
    assert image.geometry == read_label_map(target.masks / "a.nii.gz").geometry
    assert summary.to_json()["images_converted"] == 1


def test_flat_tiff_is_renamed_to_the_ending_nnunet_reads_as_2d(case, target, tmp_path):
    image, mask = tmp_path / "a.tiff", tmp_path / "a_mask.tiff"
    tifffile.imwrite(image, np.full((8, 9), 7, np.uint8))
    tifffile.imwrite(mask, np.eye(8, 9, dtype=np.uint8))
    write_raw(dataset(case("a", image=image, mask=mask)), target, workers=1)
    assert names(target.images) == ["a_0000.tif"]
    assert sha256(target.images / "a_0000.tif") == sha256(image)


def test_spacing_of_tiff_volumes_comes_along(case, target, tmp_path):
    image, mask = tmp_path / "i" / "a.tif", tmp_path / "m" / "a.tif"
    for path in (image, mask):
        path.parent.mkdir()
        tifffile.imwrite(path, np.ones((7, 8, 9), np.uint8), photometric="minisblack")
        path.with_suffix(".json").write_text('{"spacing": [3.0, 0.5, 0.5]}')
    write_raw(dataset(case("a", image=image, mask=mask)), target, workers=1)
    assert read_image([target.images / "a_0000.tif"]).geometry.spacing_zyx_mm == (3.0, 0.5, 0.5)
    assert read_label_map(target.masks / "a.tif").geometry.spacing_zyx_mm == (3.0, 0.5, 0.5)


# --- bad input -----------------------------------------------------------------------------------


def test_existing_dataset_is_refused_and_left_alone(case, target):
    target.raw.mkdir(parents=True)
    (target.raw / "precious").touch()
    with pytest.raises(RequestError, match="found Dataset501_tiny"):
        write_raw(dataset(case()), target, workers=1)
    assert names(target.raw) == ["precious"]


def test_taken_number_is_refused(case, target):
    (target.raw.parent / "Dataset501_other").mkdir(parents=True)
    with pytest.raises(RequestError, match="Dataset501_other"):
        write_raw(dataset(case()), target, workers=1)


def test_mixed_endings_are_refused_with_counts(case, files, target, tmp_path):
    mask = files.mask(tmp_path / "m.nii")
    with pytest.raises(DataError, match=r"mixed file endings: 1 x \.nii\.gz, 1 x \.nii"):
        write_raw(dataset(case(mask=mask)), target, workers=1)
    assert_nothing_written(target)


def test_mask_of_another_shape_is_refused(case, files, target, tmp_path):
    mask = files.mask(tmp_path / "m.nii.gz", shape=(6, 5, 3))
    with pytest.raises(DataError, match=r"another shape than its image: \(3, 5, 6\)"):
        write_raw(dataset(case(mask=mask)), target, workers=1)
    assert_nothing_written(target)


@pytest.mark.parametrize(
    ("entry", "value", "named"),
    [((2, 2), 3.5, "spacing"), ((0, 3), 11.0, "origin"), ((0, 0), -0.7, "direction")],
)
def test_mask_elsewhere_in_space_is_refused(case, target, entry, value, named):
    mask = case().mask
    affine = AFFINE.copy()
    affine[entry] = value
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.uint8), affine), mask)
    source = dataset(case(mask=mask))
    with pytest.raises(DataError, match=f"'a', mask: found another .*{named}.* than its image"):
        write_raw(source, target, workers=1)


def test_training_image_without_mask_is_refused(case, target):
    with pytest.raises(DataError, match="case 'a': found an image without a mask"):
        write_raw(dataset(case(without_mask=True)), target, workers=1)


def test_mask_without_image_is_refused(case, target):
    orphan = SourceCase(record=case().record, images=(), mask=case().mask)
    with pytest.raises(DataError, match="case 'a': found a mask without an image"):
        write_raw(dataset(orphan), target, workers=1)


def test_missing_channel_is_refused(case, files, target, tmp_path):
    channels = (files.image(tmp_path / "c0.nrrd.nii"),)
    mask = files.mask(tmp_path / "m.nii")
    source = dataset(case(image=channels, mask=mask), channel_names=("T1", "T2"))
    with pytest.raises(DataError, match="expected 2 channels"):
        write_raw(source, target, workers=1)


def test_one_channel_too_many_is_refused(case, files, target, tmp_path):
    channels = tuple(files.image(tmp_path / f"c{i}.nii.gz") for i in (0, 1))
    with pytest.raises(DataError, match=r"case 'a', image: found 2 channel\(s\); expected 1: CT"):
        write_raw(dataset(case(image=channels)), target, workers=1)


def test_repeated_id_is_refused(case):
    with pytest.raises(DataError, match="case 'a' more than once"):
        dataset(case("a"), case("a"))


def test_dataset_of_test_cases_only_is_refused(case, target):
    with pytest.raises(DataError, match="1 cases, none for training"):
        write_raw(dataset(case(split="test")), target, workers=1)


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b"])
def test_id_that_is_no_file_name_is_refused(case, files, target, tmp_path, name):
    image, mask = files.image(tmp_path / "i.nii.gz"), files.mask(tmp_path / "m.nii.gz")
    with pytest.raises(DataError, match="cannot be a file name"):
        write_raw(dataset(case(name, image=image, mask=mask)), target, workers=1)


def test_undeclared_label_stops_the_import_and_leaves_nothing(case, files, target, tmp_path):
    mask = files.mask(tmp_path / "m.nii.gz", (0, 7))
    with pytest.raises(DataError, match="case 'b', mask: found the value 7; expected one of"):
        write_raw(dataset(case("a"), case("b", mask=mask)), target, workers=2)
    assert_nothing_written(target)


def test_number_of_further_bad_cases_is_told(case, files, target, tmp_path):
    bad = [case(n, mask=files.mask(tmp_path / f"{n}.nii.gz", (0, 7))) for n in "bcd"]
    with pytest.raises(DataError, match=r"case 'b'.* \(2 more cases have problems\)"):
        write_raw(dataset(case("a"), *bad), target, workers=2)


def test_unreadable_image_is_named(case, target, tmp_path):
    broken = tmp_path / "i.nii.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        write_raw(dataset(case(image=broken)), target, workers=1)
    assert_nothing_written(target)


def test_full_disk_leaves_nothing_half_written(case, target, monkeypatch):
    copied = []
    copyfile = shutil.copyfile

    def copy_until_full(source, destination):
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(destination)
        copyfile(source, destination)

    source = dataset(case("a"), case("b"))
    monkeypatch.setattr(shutil, "copyfile", copy_until_full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_raw(source, target, workers=1)
    assert len(copied) == 3
    assert_nothing_written(target)
