"""Raw dataset to prepared store: what is made, kept, made again and refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segduet.core.errors import DataError, SegduetError
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prepared import PreparedCase
from segduet.core.volume import Volume
from segduet.nnunet.preprocess import preprocess_dataset
from segduet.preparation.prepare import prepare_case

Toy = tuple[DataRoot, DatasetFolders]


class Counting:
    """`prepare_case` that remembers which cases it was asked for."""

    def __init__(self) -> None:
        self.cases: list[str] = []

    def __call__(
        self,
        volume: Volume,
        label_map: np.ndarray | None,
        *,
        case: str,
        plan: Plan,
        configuration: ConfigurationPlan,
    ) -> PreparedCase:
        self.cases.append(case)
        return prepare_case(volume, label_map, case=case, plan=plan, configuration=configuration)


def run(toy: Toy, plan: Plan, **options: Any) -> list[str]:
    """Preprocesses the toy dataset; returns the cases that were really prepared."""
    counting = Counting()
    preprocess_dataset(toy[1], plan, "3d_fullres", prepare=counting, **options)
    return counting.cases


def rewrite(path: Path, change: Any) -> None:
    SimpleITK.WriteImage(change(SimpleITK.ReadImage(str(path))), str(path))


def test_every_case_is_prepared_in_parallel(toy: Toy, toy_plan: Plan) -> None:
    """F08: two processes; arrays are those of `prepare_case`, references are copied."""
    _, folders = toy
    seen: list[str] = []
    store = preprocess_dataset(
        folders, toy_plan, "3d_fullres", prepare=prepare_case, workers=2, on_progress=seen.append
    )
    assert store.cases() == ("a1", "a2", "a3", "v1")
    assert sorted(seen) == ["a1", "a2", "a3", "v1"]
    found = store.open("a2")
    # 10 x 24 x 24 at 2.5 x 1 x 1 mm -> 2 x 1.2 x 1.2 mm, rounded half to even
    assert found.image.shape == (1, 12, 20, 20)
    assert set(np.unique(found.label_map[:])) == {0, 1, 2}
    assert found.region_voxels["organ"] > found.region_voxels["lesion"] > 0
    for case in store.cases():
        copied = folders.preprocessed / "gt_segmentations" / f"{case}.nii.gz"
        assert copied.read_bytes() == (folders.masks / f"{case}.nii.gz").read_bytes()


def test_only_what_changed_is_prepared_again(toy: Toy, toy_plan: Plan) -> None:
    """B10: missing parts, other contents of a file, other settings."""
    _, folders = toy
    assert run(toy, toy_plan) == ["a1", "a2", "a3", "v1"]
    assert run(toy, toy_plan) == []
    for path in folders.images.iterdir():
        os.utime(path)
    assert run(toy, toy_plan) == []
    (folders.preprocessed / "toyPlans_3d_fullres" / "a3.pkl").unlink()
    rewrite(folders.masks / "a1.nii.gz", lambda mask: SimpleITK.Clamp(mask, upperBound=1))
    assert run(toy, toy_plan) == ["a1", "a3"]
    rewrite(folders.images / "v1_0000.nii.gz", lambda image: image + 1)
    assert run(toy, toy_plan) == ["v1"]
    content = toy_plan.to_json()
    content["configurations"]["3d_fullres"]["spacing"] = [2.0, 1.0, 1.0]
    assert run(toy, Plan.model_validate(content), cases=["a2"]) == ["a2"]


def test_configurations_that_share_a_folder_share_its_cases(toy: Toy, toy_plan: Plan) -> None:
    """F14: the cascade's second stage is prepared like 3d_fullres, whatever its patches."""
    run(toy, toy_plan)
    content = toy_plan.to_json()
    content["configurations"]["3d_fullres"] |= {
        "batch_size": 9,
        "patch_size": [4, 8, 8],
        "previous_stage": "3d_lowres",
    }
    assert run(toy, Plan.model_validate(content)) == []


def test_a_case_without_a_mask_is_prepared(toy: Toy, toy_plan: Plan) -> None:
    """B03."""
    _, folders = toy
    (folders.masks / "a1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"'a1'.*without a mask.*imagesUnlabelled"):
        run(toy, toy_plan, cases=["a1"])
    folders.unlabelled_images.mkdir()
    image = folders.images / "a1_0000.nii.gz"
    image.rename(folders.unlabelled_images / image.name)
    store = preprocess_dataset(folders, toy_plan, "3d_fullres", prepare=prepare_case, cases=["a1"])
    assert not store.open("a1").has_label_map
    assert not (folders.preprocessed / "gt_segmentations").exists()


def test_leftovers_of_a_killed_run_are_removed(toy: Toy, toy_plan: Plan) -> None:
    leftover = toy[1].preprocessed / "toyPlans_3d_fullres" / ".partial-abc.b2nd"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    run(toy, toy_plan, cases=["a1"])
    assert not leftover.exists()


def test_a_bad_case_is_named_and_finished_ones_stay(toy: Toy, toy_plan: Plan) -> None:
    _, folders = toy
    rewrite(folders.masks / "a2.nii.gz", lambda mask: mask * 7)
    with pytest.raises(DataError, match=r"'a2'.*\[7, 14\].*\[0, 1, 2\]"):
        run(toy, toy_plan)
    assert run(toy, toy_plan, cases=["a1", "a3"]) == ["a3"]
    (folders.images / "a3_0000.nii.gz").write_bytes(b"broken")
    with pytest.raises(DataError, match="a3_0000"):
        run(toy, toy_plan, cases=["a1", "a3"], workers=1)


def test_an_error_of_ours_also_names_the_case(toy: Toy, toy_plan: Plan) -> None:
    def fail(*_: Any, **__: Any) -> PreparedCase:
        raise ZeroDivisionError("oh")

    with pytest.raises(SegduetError, match=r"case 'a1'.*ZeroDivisionError: oh"):
        preprocess_dataset(toy[1], toy_plan, "3d_fullres", prepare=fail)


def test_an_unknown_case_is_refused(toy: Toy, toy_plan: Plan) -> None:
    with pytest.raises(DataError, match="'nobody'"):
        run(toy, toy_plan, cases=["a1", "nobody"])
