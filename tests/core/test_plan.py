from pathlib import Path
from typing import Any

import pytest

from segduet.core.errors import DataError, RequestError
from segduet.core.files import write_json
from segduet.core.plan import Plan

FULLRES = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [16, 96, 80],
    "spacing": [5.0, 1.5, 1.25],
    "median_image_size_in_voxels": [9.0, 256.0, 216.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "architecture": {
        "network_class_name": "some.PlainConvUNet",
        "arch_kwargs": {"n_stages": 4},
        "_kw_requires_import": ["conv_op"],
    },
    "batch_dice": True,
}


def plan(**configurations: Any) -> Plan:
    return Plan(dataset_name="Dataset501_x", plans_name="Plans", configurations=configurations)


def test_a_configuration_inherits_and_its_own_entries_win() -> None:
    """F14: nnU-Net's 3d_cascade_fullres is 3d_fullres with two entries changed."""
    grandchild = plan(
        base=FULLRES,
        low={"inherits_from": "base", "batch_size": 7, "batch_dice": False},
        lower={"inherits_from": "low", "batch_size": 9},
    ).configuration("lower")
    assert (grandchild.batch_size, grandchild.batch_dice) == (9, False)
    assert grandchild.patch_size == (16, 96, 80)
    assert grandchild.architecture.kw_requires_import == ("conv_op",)


@pytest.mark.parametrize(
    ("name", "configurations"),
    [
        ("3d_lowres", {"2d": FULLRES}),
        ("child", {"child": {"inherits_from": "gone"}}),
        ("a", {"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}),
    ],
)
def test_an_unknown_or_circular_configuration_names_what_there_is(
    name: str, configurations: dict
) -> None:
    with pytest.raises(RequestError, match=r"^plan Plans: .* expected one of \["):
        plan(**configurations).configuration(name)


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"patch_size": [16]}, "patch_size"),
        ({"patch_size": "big"}, "patch_size"),
        ({"architecture": {"arch_kwargs": {}}}, "architecture.network_class_name"),
    ],
)
def test_an_entry_of_the_wrong_kind_is_named(change: dict, entry: str) -> None:
    with pytest.raises(DataError, match=f"^plan Plans, big, {entry}: "):
        plan(big=FULLRES | change).configuration("big")


def test_a_2d_patch_has_one_slice() -> None:
    flat = FULLRES | {"patch_size": [96, 80], "spacing": [1.5, 1.25]}
    configurations = plan(flat=flat, deep=FULLRES)
    two, three = configurations.configuration("flat"), configurations.configuration("deep")
    assert (two.num_spatial_dims, two.patch_size_zyx) == (2, (1, 96, 80))
    assert (three.num_spatial_dims, three.patch_size_zyx) == (3, (16, 96, 80))


CONTENT = {
    "dataset_name": "Dataset501_x",
    "plans_name": "Plans",
    "transpose_forward": [1, 0, 2],
    "transpose_backward": [1, 0, 2],
    "configurations": {"3d_fullres": FULLRES},
    "experiment_planner_used": "ExperimentPlanner",
    "segduet": {"tasks": [{"name": "subtype", "classes": ["a", "b"]}]},
}


def test_a_plan_reads_back_what_nnunet_wrote_unknown_keys_included(tmp_path: Path) -> None:
    """B11: nothing of nnU-Net's file is lost, and our section comes along."""
    write_json(tmp_path / "plans.json", CONTENT)
    read = Plan.read(tmp_path / "plans.json")
    assert read.segduet.tasks[0].classes == ("a", "b")
    written = read.to_json()
    assert written["experiment_planner_used"] == "ExperimentPlanner"
    assert written["configurations"] == CONTENT["configurations"]
    assert Plan.model_validate(written) == read


@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ({"tasks": [{"name": "subtype", "classes": ["a"]}]}, "segduet.tasks.0.classes"),
        ({"heads": 3}, "segduet.heads"),
    ],
)
def test_a_mistake_in_our_own_section_is_refused(tmp_path: Path, section: dict, entry: str) -> None:
    write_json(tmp_path / "plans.json", CONTENT | {"segduet": section})
    with pytest.raises(DataError, match=rf"plans\.json, {entry}: "):
        Plan.read(tmp_path / "plans.json")
