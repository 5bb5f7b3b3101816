"""Tiny user folders, one per layout."""

import csv
import gzip
import struct
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from segduet.core.folders import DataRoot

SHAPE_XYZ = (6, 5, 4)
AFFINE = np.array([[0.7, 0, 0, -10], [0, 0.8, 0, 20], [0, 0, 3.0, 5], [0, 0, 0, 1.0]])


class Files:
    """Writers of tiny files; folders are made as needed."""

    @staticmethod
    def image(path, *, seed=0, shape=SHAPE_XYZ, affine=AFFINE):
        values = np.random.default_rng(seed).integers(-200, 300, shape).astype(np.int16)
        return Files.nifti(path, values, affine=affine)

    @staticmethod
    def mask(path, values=(0, 1, 2), *, shape=SHAPE_XYZ, affine=AFFINE, dtype=np.uint8):
        """A mask whose last voxels hold `values` and whose others hold the first of them."""
        array = np.full(shape, values[0], dtype)
        array.ravel()[-len(values) :] = values
        return Files.nifti(path, array, affine=affine)

    @staticmethod
    def nifti(path, array, *, affine=AFFINE):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(array, affine)
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=2)
        nib.save(image, path)
        return path

    @staticmethod
    def seed_defect(path, labels):
        """A float {0, 1, 2} mask as the seeds' data have it: uint16 with scl_slope 2 / 65535.

        Label 1 is stored as 32768 and decodes to 1.0000152587890625.
        """
        stored = np.rint(np.asarray(labels) * 32767.51).astype(np.uint16)
        plain = Files.nifti(path.with_name("plain.nii"), stored)
        content = bytearray(plain.read_bytes())
        plain.unlink()
        # bytes 112-119 of the header hold scl_slope and scl_inter
        content[112:120] = struct.pack("<ff", 2 / 65535, 0.0)
        path.write_bytes(gzip.compress(bytes(content)))
        return path

    @staticmethod
    def picture(path, values, size=(8, 10)):
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.full(size, values[0], np.uint8)
        array.ravel()[-len(values) :] = values
        Image.fromarray(array).save(path)
        return path

    @staticmethod
    def table(path, columns, *rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([columns, *rows])
        return path


@pytest.fixture
def files():
    return Files


@pytest.fixture
def target(tmp_path):
    """Folders of a dataset that does not exist yet."""
    return DataRoot.resolve(tmp_path / "data", {}).new_dataset("Dataset501_tiny")


@pytest.fixture
def quiz(tmp_path):
    """Quiz layout: 3 training, 2 validation and 2 test cases."""
    root = tmp_path / "quiz"
    cases = [("train", 0, 41), ("train", 1, 7), ("train", 2, 100)]
    cases += [("validation", 0, 5), ("validation", 2, 6)]
    for seed, (split, subtype, number) in enumerate(cases):
        stem = root / split / f"subtype{subtype}" / f"quiz_{subtype}_{number:03d}"
        Files.image(Path(f"{stem}_0000.nii.gz"), seed=seed)
        Files.mask(Path(f"{stem}.nii.gz"))
    for number in (37, 38):
        Files.image(root / "test" / f"quiz_{number:03d}_0000.nii.gz", seed=number)
    return root


@pytest.fixture
def pictures(tmp_path):
    """Table layout: 4 pictures of 3 patients with masks 0/255; one class is unknown."""
    root = tmp_path / "pictures"
    rows = [("a1", "benign", "p1"), ("a2", "benign", "p1"), ("b1", "malignant", "p2")]
    rows.append(("c1", "", "p3"))
    for seed, (case, _, _) in enumerate(rows):
        Files.picture(root / "images" / f"{case}.png", range(seed, seed + 70))
        Files.picture(root / "masks" / f"{case}.png", (0, 255, 255))
    Files.table(root / "cases.csv", ["case", "class", "patient", "width"], *[(*r, 9) for r in rows])
    return root


@pytest.fixture
def nnunets_verdict(monkeypatch, capsys):
    """What nnU-Net's own integrity check prints; threads stand in for its processes."""
    module = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    context = SimpleNamespace(get_context=lambda _kind: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(module, "multiprocessing", context)
    monkeypatch.setattr("nnunetv2.utilities.utils.Pool", ThreadPool)

    def verdict(folders):
        module.verify_dataset_integrity(str(folders.raw), num_processes=1)
        return capsys.readouterr().out

    return verdict
