import csv
import gzip
import io
import shutil
import struct
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.io.images import write_label_map
from segduet.reporting.submission import source_images, write_submission
from segduet.reporting.submission_check import check_submission

GRID = Geometry(shape_zyx=(3, 4, 5), spacing_zyx_mm=(2.0, 0.7, 0.7), origin_xyz_mm=(-10, 20, 5.5))
CASES = ("quiz_037", "quiz_045")
SUBTYPES = {"quiz_037": 2, "quiz_045": 0}


def write_mask(path: Path, *, grid: Geometry = GRID, value: int = 2) -> None:
    mask = np.zeros(grid.shape_zyx, np.uint8)
    mask[0, 0, 0] = value
    write_label_map(path, mask, grid)


@pytest.fixture
def images(tmp_path) -> dict[str, Path]:
    for case in CASES:
        write_mask(tmp_path / "test" / f"{case}_0000.nii.gz", value=100)
    return source_images(tmp_path / "test")


@pytest.fixture
def masks(tmp_path) -> Path:
    for case in CASES:
        write_mask(tmp_path / "masks" / f"{case}.nii.gz")
    return tmp_path / "masks"


@pytest.fixture
def archive(tmp_path, images, masks) -> Path:
    write_submission(tmp_path / "results.zip", masks, SUBTYPES, images)
    return tmp_path / "results.zip"


def kinds(archive: Path, images) -> set[str]:
    return {fault.kind for fault in check_submission(archive, images)}


def rewrite(archive: Path, changes: dict[str, bytes | None]) -> Path:
    """The archive with entries replaced, added, or (None) left out."""
    with zipfile.ZipFile(archive) as opened:
        content = {name: opened.read(name) for name in opened.namelist()}
    content.update({name: data for name, data in changes.items() if data is not None})
    target = archive.with_name("changed.zip")
    with zipfile.ZipFile(target, "w") as written:
        for name, data in content.items():
            if changes.get(name, data) is not None:
                written.writestr(name, data)
    return target


def test_archive_is_flat_with_the_exact_table(archive, images, masks):
    """F79, seeds.md 0.1: names, header and bytes as the quiz wants them."""
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["quiz_037.nii.gz", "quiz_045.nii.gz", "subtype_results.csv"]
        assert opened.read("subtype_results.csv") == (
            b"Names,Subtype\nquiz_037.nii.gz,2\nquiz_045.nii.gz,0\n"
        )
        assert opened.read("quiz_037.nii.gz") == (masks / "quiz_037.nii.gz").read_bytes()
    assert check_submission(archive, images) == []


def test_same_answers_give_the_same_bytes(archive, tmp_path, images, masks):
    write_submission(tmp_path / "again.zip", masks, dict(reversed(SUBTYPES.items())), images)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_missing_answer_writes_nothing(tmp_path, images, masks):
    """F80: never class 0 by default."""
    with pytest.raises(DataError, match=r"quiz_045.*no predicted subtype"):
        write_submission(tmp_path / "r.zip", masks, {"quiz_037": 1}, images)
    (masks / "quiz_037.nii.gz").unlink()
    with pytest.raises(DataError, match=r"quiz_037.*no predicted mask"):
        write_submission(tmp_path / "r.zip", masks, SUBTYPES, images)
    assert not (tmp_path / "r.zip").exists()


@pytest.mark.parametrize("subtype", [3, -1])
def test_wrong_subtype_is_refused_on_writing(tmp_path, images, masks, subtype):
    with pytest.raises(DataError, match="expected one of"):
        write_submission(tmp_path / "r.zip", masks, {**SUBTYPES, "quiz_045": subtype}, images)
    assert list(tmp_path.glob("*.zip")) == []


def test_names_of_missing_and_extra_entries(archive, images):
    assert kinds(rewrite(archive, {"quiz_037.nii.gz": None}), images) == {"missing mask"}
    assert kinds(rewrite(archive, {"quiz_037_0000.nii.gz": b"x"}), images) == {"extra file"}
    assert kinds(rewrite(archive, {"subtype_results.csv": None}), images) == {"missing table"}


@pytest.mark.parametrize(
    ("wrong", "exact"),
    [
        ("quiz_037_0000.nii.gz", "quiz_037.nii.gz"),
        ("Quiz_037.nii.gz", "quiz_037.nii.gz"),
        ("Subtype_Results.csv", "subtype_results.csv"),
    ],
)
def test_a_misnamed_entry_is_told_its_name(archive, images, wrong, exact):
    """F79: exact names; both the wrong one and the missing one are named."""
    with zipfile.ZipFile(archive) as opened:
        content = opened.read(exact)
    faults = check_submission(rewrite(archive, {exact: None, wrong: content}), images)
    assert {(f.kind.split()[0], f.where) for f in faults} == {("extra", wrong), ("missing", exact)}
    assert f"the exact name is {exact}" in {f.message for f in faults}


def test_a_folder_in_the_archive_is_named(archive, images):
    """F79: a flat zip has no folders, not even an empty one."""
    (fault,) = check_submission(rewrite(archive, {"results/": b""}), images)
    assert (fault.kind, fault.where) == ("nested path", "results/")
    assert "must be flat" in fault.message


@pytest.mark.parametrize("name", ["results/quiz_037.nii.gz", "../quiz_037.nii.gz", "a\\b.nii.gz"])
def test_nested_and_escaping_paths_are_named(archive, images, name, tmp_path):
    """C3.14: and nothing is extracted anywhere."""
    before = set(tmp_path.rglob("*"))
    changed = rewrite(archive, {name: b"x"})
    assert kinds(changed, images) == {"nested path"}
    assert set(tmp_path.rglob("*")) == before | {changed}


def test_duplicate_entry(archive, images):
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("quiz_037.nii.gz", b"x")
    assert kinds(archive, images) == {"duplicate entry"}


@pytest.mark.parametrize(
    ("grid", "word"),
    [
        (Geometry(shape_zyx=(3, 4, 4), spacing_zyx_mm=GRID.spacing_zyx_mm), "shape"),
        (Geometry(shape_zyx=GRID.shape_zyx, spacing_zyx_mm=(1.0, 1.0, 1.0)), "spacing"),
        (Geometry(shape_zyx=GRID.shape_zyx, spacing_zyx_mm=GRID.spacing_zyx_mm), "origin"),
    ],
)
def test_other_geometry_than_the_image(archive, images, tmp_path, grid, word):
    """seeds.md 1.2: crops with an identity affine were saved as results."""
    write_mask(tmp_path / "bad.nii.gz", grid=grid)
    changed = rewrite(archive, {"quiz_037.nii.gz": (tmp_path / "bad.nii.gz").read_bytes()})
    (fault,) = check_submission(changed, images)
    assert (fault.kind, fault.where) == ("wrong geometry", "quiz_037.nii.gz")
    assert word in fault.message


def as_nifti(source: Path, array: np.ndarray, dtype: type, slope: float | None = None) -> bytes:
    like = nibabel.load(source)
    image = nibabel.Nifti1Image(array.astype(dtype), like.affine)
    target = source.with_name("made.nii.gz")
    nibabel.save(image, target)
    if slope is not None:
        raw = bytearray(gzip.decompress(target.read_bytes()))
        raw[112:116] = struct.pack("<f", slope)
        target.write_bytes(gzip.compress(bytes(raw)))
    return target.read_bytes()


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ((3, np.uint8, None), {"wrong labels"}),
        ((1, np.float32, None), {"wrong dtype"}),
        ((1, np.uint8, 0.5), {"wrong dtype", "wrong labels"}),
    ],
)
def test_values_and_dtype(archive, images, masks, stored, kind):
    """The slope of 0.5 makes every stored 1 a 0.5, whatever the dtype says."""
    value, dtype, slope = stored
    array = np.full(GRID.shape_zyx[::-1], value)
    bad = as_nifti(masks / "quiz_037.nii.gz", array, dtype, slope)
    assert kinds(rewrite(archive, {"quiz_037.nii.gz": bad}), images) == kind


@pytest.mark.parametrize("content", [b"", b"not a mask", b"\x1f\x8b\x08\x00broken"])
def test_broken_mask_is_a_fault_not_a_crash(archive, images, content):
    assert kinds(rewrite(archive, {"quiz_037.nii.gz": content}), images) == {"unreadable mask"}


def test_mutated_headers_never_crash_the_check(archive, images, masks):
    """C3.13: 60 masks with random header bytes give faults or pass, no other error."""
    rng = np.random.default_rng(0)
    original = gzip.decompress((masks / "quiz_037.nii.gz").read_bytes())
    found = set()
    for _ in range(60):
        raw = np.frombuffer(original, np.uint8).copy()
        places = rng.integers(0, 348, size=3)
        raw[places] = rng.integers(0, 256, size=3)
        bad = gzip.compress(raw.tobytes(), 1)
        found |= kinds(rewrite(archive, {"quiz_037.nii.gz": bad}), images)
    assert found <= {"unreadable mask", "wrong geometry", "wrong dtype", "wrong labels"}
    assert "wrong geometry" in found


def test_cut_mask_is_a_fault(archive, images, masks):
    whole = (masks / "quiz_037.nii.gz").read_bytes()
    assert kinds(rewrite(archive, {"quiz_037.nii.gz": whole[:-20]}), images) == {"unreadable mask"}


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["names,subtype", "quiz_037.nii.gz,2", "quiz_045.nii.gz,0"], "wrong header"),
        (["Subtype,Names", "2,quiz_037.nii.gz", "0,quiz_045.nii.gz"], "wrong header"),
        (["Names,Subtype", "quiz_045.nii.gz,0", "quiz_037.nii.gz,2"], "wrong order"),
        (["Names,Subtype", "quiz_037.nii.gz,2"], "missing row"),
        (["Names,Subtype", "quiz_037.nii.gz,2.0", "quiz_045.nii.gz,0"], "wrong subtype"),
        (["Names,Subtype", "quiz_037.nii.gz,2,x", "quiz_045.nii.gz,0"], "wrong row"),
        (["\ufeffNames,Subtype", "quiz_037.nii.gz,2", "quiz_045.nii.gz,0"], "wrong header"),
        (["Names,Subtype", "quiz_037.nii.gz,2", "quiz_045.nii.gz,0", ""], "wrong row"),
        (["Names,Subtype", "quiz_037.nii.gz,3", "quiz_045.nii.gz,0"], "wrong subtype"),
        ([], "wrong header"),
    ],
)
def test_faults_of_the_table_are_named(archive, images, lines, kind):
    table = "".join(f"{line}\n" for line in lines).encode()
    assert kind in kinds(rewrite(archive, {"subtype_results.csv": table}), images)


def test_names_without_ending_and_duplicates_in_the_table(archive, images):
    stream = io.StringIO()
    names = ["quiz_037", "quiz_045.nii.gz", "quiz_045.nii.gz"]
    csv.writer(stream).writerows([("Names", "Subtype"), *((n, 1) for n in names)])
    changed = rewrite(archive, {"subtype_results.csv": stream.getvalue().encode()})
    assert kinds(changed, images) == {"unknown name", "duplicate row", "missing row"}


def test_oversized_table_is_not_unpacked(archive, images):
    """C3.14: a megabyte of zeros in a few bytes."""
    changed = archive.with_name("bomb.zip")
    shutil.copy(rewrite(archive, {"subtype_results.csv": None}), changed)
    with zipfile.ZipFile(changed, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("subtype_results.csv", b"\0" * (2**20 + 1))
    (fault,) = check_submission(changed, images)
    assert (fault.kind, fault.message) == ("unreadable entry", "more than 1048576 bytes")


def test_other_files_are_refused(tmp_path, images):
    (tmp_path / "x.zip").write_bytes(b"nothing")
    for name in ("x.zip", "absent.zip"):
        with pytest.raises(DataError, match="no readable zip archive"):
            check_submission(tmp_path / name, images)
    with pytest.raises(DataError, match="no image"):
        source_images(tmp_path / "empty")
