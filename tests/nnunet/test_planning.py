"""Planning by nnunetv2: what is written, and that validation cases leave no trace."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.plan import Plan
from segduet.nnunet.planning import plan_dataset

pytest.importorskip("nnunetv2")

TRAIN, VAL = ("a1", "a2", "a3"), ("v1",)
FILES = ("segduetSmallPlans.json", "dataset_fingerprint.json", "dataset.json", "cases.csv")


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net draws 100 million intensities even from a toy; a thousandth of them will do."""
    monkeypatch.setattr("segduet.nnunet.fingerprint._NUM_FOREGROUND_VOXELS", 100_000)


def plan_small(folders: DatasetFolders, **options: Any) -> Plan:
    return plan_dataset(folders, planner="small", **options)


def contents(folders: DatasetFolders) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folders.preprocessed.iterdir()}


def test_the_fingerprint_does_not_see_validation_cases(
    tmp_path: Path, raw_dataset: Callable[..., tuple[DataRoot, DatasetFolders]]
) -> None:
    """F05: bit-equal with and without validation cases on disk; planning again is idempotent."""
    _, with_val = raw_dataset(tmp_path / "with", TRAIN + VAL)
    # a damaged validation image is not even opened
    (with_val.images / "v1_0000.nii.gz").write_bytes(b"not an image")
    plan = plan_small(with_val, fingerprint_cases=TRAIN)
    first = contents(with_val)

    _, without_val = raw_dataset(tmp_path / "without", TRAIN)
    (without_val.preprocessed).mkdir(parents=True)
    earlier = json.loads(first["segduetSmallPlans.json"])
    earlier["configurations"] = {"mine": {"inherits_from": "3d_fullres", "batch_size": 7}}
    without_val.plan_file("segduetSmallPlans").write_text(json.dumps(earlier))
    plan_small(without_val)
    second = contents(without_val)

    assert first["dataset_fingerprint.json"] == second["dataset_fingerprint.json"]
    assert set(first) == set(second) == set(FILES)
    # a configuration the user added is kept, everything else is the same
    again = json.loads(second["segduetSmallPlans.json"])
    assert again["configurations"].pop("mine")["batch_size"] == 7
    assert again == json.loads(first["segduetSmallPlans.json"])
    _check_plan(plan, with_val)


def _check_plan(plan: Plan, folders: DatasetFolders) -> None:
    """F14, and the numbers of the `small` planner."""
    assert plan.plans_name == "segduetSmallPlans"
    assert set(plan.configurations) == {"2d", "3d_fullres"}
    full, flat = plan.configuration("3d_fullres"), plan.configuration("2d")
    assert full.architecture.arch_kwargs["features_per_stage"][:2] == [16, 32]
    assert full.batch_size == 2
    assert flat.batch_size == 2
    assert full.spacing == (2.5, 1.0, 1.0)
    assert full.normalization_schemes == ("CTNormalization",)
    assert full.data_identifier == "segduetSmallPlans_3d_fullres"
    assert [t.name for t in plan.segduet.tasks] == ["kind"]
    copied = DatasetDescription.read(folders.preprocessed / "dataset.json")
    assert copied == DatasetDescription.read(folders.raw / "dataset.json")


def test_unusable_requests_are_refused_before_nnunet_runs(
    toy: tuple[DataRoot, DatasetFolders],
) -> None:
    _, folders = toy
    with pytest.raises(RequestError, match="resenc-l"):
        plan_dataset(folders, planner="huge")
    with pytest.raises(RequestError, match="-1"):
        plan_small(folders, memory_gb=-1.0)
    with pytest.raises(DataError, match="'nobody'"):
        plan_small(folders, fingerprint_cases=["a1", "nobody"])
    (folders.masks / "a1.nii.gz").unlink()
    with pytest.raises(DataError, match="'a1'"):
        plan_small(folders, fingerprint_cases=["a1"])
    shutil.rmtree(folders.masks)
    with pytest.raises(DataError, match="no case to plan from"):
        plan_small(folders)
    assert not folders.preprocessed.exists()
