"""The planners a user can name."""

from typing import Any

import pytest

from segduet.core.errors import RequestError
from segduet.nnunet.planners import PLANNERS, find_planner


def test_every_planner_plans_into_a_file_of_its_own() -> None:
    assert {name: (p.plans_name, p.memory_gb) for name, p in PLANNERS.items()} == {
        "plain": ("nnUNetPlans", 8),
        "resenc-m": ("nnUNetResEncUNetMPlans", 8),
        "resenc-l": ("nnUNetResEncUNetLPlans", 24),
        "resenc-xl": ("nnUNetResEncUNetXLPlans", 40),
        "small": ("segduetSmallPlans", 1),
    }


@pytest.mark.parametrize("name", PLANNERS)
def test_planner_classes_exist_and_have_our_defaults(name: str) -> None:
    """A new nnunetv2 that renames a planner or changes its budget is noticed here."""
    pytest.importorskip("nnunetv2")
    import inspect

    planner = find_planner(name)
    found = planner.planner_class()
    assert found.__name__ == ("SmallMemoryPlanner" if name == "small" else planner.class_name)
    stock = inspect.signature(found.__mro__[1] if name == "small" else found).parameters
    if name != "small":
        assert stock["plans_name"].default == planner.plans_name
        assert stock["gpu_memory_target_in_gb"].default == planner.memory_gb


@pytest.mark.parametrize(("num_axes", "stock", "small"), [(3, 9, 2), (3, 1, 1), (2, 49, 8)])
def test_the_small_planner_caps_batches(
    num_axes: int, stock: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pytest.importorskip(
        "nnunetv2.experiment_planning.experiment_planners.default_experiment_planner"
    ).ExperimentPlanner

    def planned(*_: Any, **__: Any) -> dict[str, int]:
        return {"batch_size": stock}

    monkeypatch.setattr(plain, "get_plans_for_configuration", planned)
    monkeypatch.setattr(plain, "__init__", lambda _: None)
    planner = find_planner("small").planner_class()()
    features = (planner.UNet_base_num_features, planner.UNet_max_features_3d)
    assert (*features, planner.UNet_max_features_2d) == (16, 160, 256)
    assert planner.get_plans_for_configuration((1.0,) * num_axes)["batch_size"] == small


def test_an_unknown_planner_names_the_known_ones() -> None:
    with pytest.raises(RequestError, match="plain, resenc-m"):
        find_planner("ExperimentPlanner")
