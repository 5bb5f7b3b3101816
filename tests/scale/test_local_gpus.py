"""B22: units that run side by side on one machine do not crowd onto its first GPU."""

from pathlib import Path

import pytest

from segduet.scale.local_gpus import least_used, visible_gpus
from segduet.scale.unit import Resources
from tiny_studies import little_runner, little_unit


def test_the_environment_says_which_gpus_there_are(tmp_path: Path) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    assert visible_gpus({}, tmp_path / "gpus") == ("0", "1")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, 5"}, tmp_path / "gpus") == ("3", "5")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path / "gpus") == ()
    assert visible_gpus({}, tmp_path / "no-driver") == ()


@pytest.mark.parametrize(
    ("wanted", "in_use", "given"),
    [
        (1, [], ("a",)),
        (1, [("a",)], ("b",)),
        (1, [("a",), ("b",)], ("a",)),
        (0.5, [("a",)], ("b",)),
        (2, [("a",)], ("b", "a")),
        (0, [], ()),
    ],
)
def test_a_unit_gets_the_gpus_that_fewest_others_have(
    wanted: float, in_use: list, given: tuple[str, ...]
) -> None:
    assert least_used(["a", "b"], wanted, in_use) == given


def test_two_units_at_a_time_have_a_gpu_each(tmp_path: Path) -> None:
    units = [
        little_unit(
            tmp_path, name, "gpus", tmp_path / name, "sleep", 0.4, resources=Resources(gpus=1)
        )
        for name in ("first", "second")
    ]
    little_runner(tmp_path, *units, jobs=2, gpus=("4", "7")).run(retry_failed=False)
    assert [(tmp_path / name).read_text() for name in ("first", "second")] == ["4", "7"]
