"""F10: nerve frames by patient folder, and the Kaggle layout."""

import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from segduet.core.errors import DataError
from segduet.dataset.folds import stratified_grouped_folds
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.registry import IMPORTERS
from segduet.dataset.raw_writer import write_raw
from segduet.io.images import read_image, read_label_map


def load(root, **options):
    return IMPORTERS["nerve"](root, ImportOptions(**options))


def facts(source):
    """Case -> (patient, split, labels)."""
    records = (case.record for case in source.cases)
    return {r.case: (r.patient, r.split, dict(r.labels)) for r in records}


def frame(value):
    return np.full((8, 9, 3), float(value))


def roi():
    return np.pad(np.ones((2, 2), np.uint8), ((1, 5), (1, 6)))


@pytest.fixture
def nerve(tmp_path):
    """3 patients x 2 classes, MATLAB frames with masks in a folder of their own."""
    root = tmp_path / "OPUS"
    for patient in (1, 2, 3):
        for kind in ("medianus", "ulnaris"):
            folder = root / f"patient_{patient:03d}" / kind
            for inner in ("OPUS", "ROI"):
                (folder / inner).mkdir(parents=True)
            savemat(folder / "OPUS" / "scan_01_007.mat", {"opus_nnmf": frame(patient)})
            savemat(folder / "ROI" / "label_1_7.mat", {"ROI": roi()})
    return root


def test_nerve_frames_pair_by_number_whatever_the_leading_zeros(nerve):
    """F10: class per folder, patient per folder."""
    source = load(nerve)
    assert len(source.cases) == 6
    assert facts(source)["patient_002_ulnaris_1_7"] == ("patient_002", "", {"nerve": "ulnaris"})
    assert all(c.mask and c.mask.name == "label_1_7.mat" for c in source.cases)
    assert source.channel_names == ("opus_nnmf_1", "opus_nnmf_2", "opus_nnmf_3")
    assert source.tasks[0].classes == ("medianus", "ulnaris")


def test_nerve_frames_become_one_float_tiff_per_channel(nerve, target):
    """F10: no value is rounded on the way."""
    values = np.random.default_rng(0).normal(size=(8, 9, 3))
    savemat(nerve / "patient_001/medianus/OPUS/scan_01_007.mat", {"opus_nnmf": values})
    summary = write_raw(load(nerve), target, workers=2)
    paths = [target.images / f"patient_001_medianus_1_7_000{c}.tif" for c in range(3)]
    image = read_image(paths)
    np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(values.astype(np.float32), 2, 0))
    mask = read_label_map(target.masks / "patient_001_medianus_1_7.tif")
    np.testing.assert_array_equal(mask.array[0, 0], roi())
    assert summary.to_json()["images_converted"] == 6


def test_nnunet_finds_converted_nerve_frames_sound(nerve, target, nnunets_verdict):
    write_raw(load(nerve), target, workers=1)
    assert "your dataset is most likely OK" in nnunets_verdict(target)


def test_nerve_folds_never_share_a_patient(nerve):
    """F10: patient leak test."""
    source = load(nerve)
    table = source.table
    folds = stratified_grouped_folds(table, source.tasks[0], cases=table.cases, num_folds=3)
    for fold in folds:
        assert {c[:11] for c in fold.val}.isdisjoint({c[:11] for c in fold.train})
        assert table.class_counts(source.tasks[0], fold.val) == (1, 1)


def test_nerve_picture_pairs_work_too(tmp_path, files):
    """F10: `<id>` and `<id>_mask`."""
    for patient, kind in ((1, "a"), (2, "b")):
        folder = tmp_path / f"patient_{patient:03d}" / kind
        files.picture(folder / "us_03_012.png", (5, 6))
        files.picture(folder / "us_3_12_mask.png", (0, 255))
    source = load(tmp_path, classes=("b", "a"), channel_names=("us",))
    assert sorted(facts(source)) == ["patient_001_a_3_12", "patient_002_b_3_12"]
    assert source.value_map == {0: 0, 255: 1}
    assert source.tasks[0].classes == ("b", "a")


def test_nerve_frame_with_image_and_mask_in_one_file(nerve):
    folder = nerve / "patient_001" / "ulnaris"
    (folder / "OPUS" / "scan_01_007.mat").unlink()
    (folder / "ROI" / "label_1_7.mat").unlink()
    savemat(folder / "both_1_8.mat", {"opus_nnmf": frame(1), "ROI": roi()})
    case = next(c for c in load(nerve).cases if c.record.case.endswith("ulnaris_1_8"))
    assert case.images == (case.mask,)


def add(root, name, **variables):
    savemat(root / "patient_001/medianus" / name, variables)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: add(r, "again_001_007.mat", US=frame(1)), "a second file for the frame"),
        (lambda r: add(r, "odd_1_9.mat", thing=frame(1)), r"found the variables \['thing'\]"),
        (
            lambda r: add(r, "roi_1_8.mat", ROI=roi() * 2),
            r"found mask values \[1, 2\] beside 0",
        ),
        (lambda r: add(r, "roi_1_8.mat", ROI=roi() * 0.5), "found the value 0.5"),
        (lambda r: (r / "patient_001/medianus/a.txt").touch(), r"the ending '\.txt'"),
    ],
)
def test_nerve_folder_that_does_not_fit_is_refused(nerve, change, message):
    change(nerve)
    with pytest.raises(DataError, match=message):
        load(nerve)


def test_nerve_frame_with_other_channels_is_refused(nerve, target):
    savemat(nerve / "patient_003/ulnaris/OPUS/scan_01_007.mat", {"US": frame(1)[..., 0]})
    source = load(nerve)
    with pytest.raises(DataError, match=r"patient_003_ulnaris_1_7, .*: found the channels US;"):
        write_raw(source, target, workers=1)


@pytest.mark.parametrize("missing", ["OPUS/scan_01_007.mat", "ROI/label_1_7.mat"])
def test_nerve_frame_without_its_partner_is_refused(nerve, target, missing):
    (nerve / "patient_001" / "medianus" / missing).unlink()
    with pytest.raises(DataError, match=r"case 'patient_001_medianus_1_7': found .* without"):
        write_raw(load(nerve), target, workers=1)


@pytest.fixture
def kaggle(tmp_path):
    root = tmp_path / "train"
    root.mkdir()
    for subject, number, has_nerve in ((1, 1, True), (1, 2, False), (2, 1, True), (3, 1, False)):
        tifffile.imwrite(root / f"{subject}_{number}.tif", np.full((8, 9), subject, np.uint8))
        mask = roi() * np.uint8(255 * has_nerve)
        tifffile.imwrite(root / f"{subject}_{number}_mask.tif", mask)
    return root


def test_kaggle_presence_comes_from_the_mask_and_patient_from_the_subject(kaggle, target):
    """F10: the Kaggle-style folder works too."""
    source = load(kaggle)
    assert facts(source) == {
        "1_1": ("subject_1", "", {"nerve": "present"}),
        "1_2": ("subject_1", "", {"nerve": "absent"}),
        "2_1": ("subject_2", "", {"nerve": "present"}),
        "3_1": ("subject_3", "", {"nerve": "absent"}),
    }
    summary = write_raw(source, target, workers=1)
    assert summary.class_counts == {"nerve": {"absent": 2, "present": 2}}
    assert set(np.unique(read_label_map(target.masks / "1_1.tif").array)) == {0, 1}


def test_kaggle_file_of_another_name_is_refused(kaggle):
    (kaggle / "sample.tif").touch()
    with pytest.raises(DataError, match="without subject and image number"):
        load(kaggle)


def test_empty_folder_has_no_frames(tmp_path):
    with pytest.raises(DataError, match="found no frames"):
        load(tmp_path)
