"""The fingerprint equals nnunetv2's own, and names the case it cannot read."""

import json
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, SegduetError
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.nnunet import fingerprint
from segduet.nnunet.environment import nnunet_environment
from segduet.nnunet.raw_cases import RawCase, raw_cases

extractor = pytest.importorskip(
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor"
)
NUM_VOXELS = 30_000


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_NUM_FOREGROUND_VOXELS", NUM_VOXELS)


def reader() -> type[Any]:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    return SimpleITKIO


def cases_of(folders: DatasetFolders) -> dict[str, RawCase]:
    return raw_cases(folders, DatasetDescription.read(folders.raw / "dataset.json"))


def test_it_equals_what_nnunet_writes(
    toy: tuple[DataRoot, DatasetFolders], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F08, B11: same file from the same cases."""
    root, folders = toy
    ours = fingerprint.dataset_fingerprint(cases_of(folders), reader(), workers=1)
    # threads in place of nnunetv2's processes, which take long to start
    threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(extractor, "multiprocessing", threads)
    monkeypatch.setattr("nnunetv2.utilities.utils.Pool", ThreadPool)
    with nnunet_environment(root):
        stock = extractor.DatasetFingerprintExtractor(folders.name, 1)
        stock.show_progress_bar = False
        stock.num_foreground_voxels_for_intensitystats = NUM_VOXELS
        stock.run(overwrite_existing=True)
    written = json.loads((folders.preprocessed / "dataset_fingerprint.json").read_text())
    assert json.loads(json.dumps(ours)) == written


def test_percentiles_are_those_of_the_foreground(toy: tuple[DataRoot, DatasetFolders]) -> None:
    """F08: 0.5 and 99.5 % of the labelled voxels; the samples are drawn, so within a tolerance."""
    _, folders = toy
    case = {"a1": cases_of(folders)["a1"]}
    found = fingerprint.dataset_fingerprint(case, reader(), workers=1)
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(case["a1"].images[0])))
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(case["a1"].mask)))
    low, high = np.percentile(image[labels > 0], (0.5, 99.5))
    channel = found["foreground_intensity_properties_per_channel"]["0"]
    assert channel["percentile_00_5"] == pytest.approx(low, abs=3.0)
    assert channel["percentile_99_5"] == pytest.approx(high, abs=3.0)
    assert channel["mean"] == pytest.approx(image[labels > 0].mean(), abs=0.5)
    assert found["spacings"] == [[2.5, 1.0, 1.0]]
    assert found["shapes_after_crop"] == [[10, 24, 24]]


def test_the_case_that_cannot_be_read_is_named(toy: tuple[DataRoot, DatasetFolders]) -> None:
    _, folders = toy
    (folders.images / "a2_0000.nii.gz").write_bytes(b"broken")
    with pytest.raises(SegduetError, match="a2_0000"):
        fingerprint.dataset_fingerprint(cases_of(folders), reader(), workers=1)


def test_masks_without_foreground_are_refused(toy: tuple[DataRoot, DatasetFolders]) -> None:
    _, folders = toy
    mask = SimpleITK.ReadImage(str(folders.masks / "a1.nii.gz")) * 0
    SimpleITK.WriteImage(mask, str(folders.masks / "a1.nii.gz"))
    with pytest.raises(DataError, match="foreground"):
        fingerprint.dataset_fingerprint({"a1": cases_of(folders)["a1"]}, reader(), workers=1)
