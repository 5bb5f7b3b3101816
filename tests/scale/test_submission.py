"""B22: what engines are given: levels of needs, names, memory."""

from graphlib import CycleError
from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.scale.submission import alike, dependency_levels, megabytes, plain, whole_gpus
from segduet.scale.unit import Resources, WorkUnit
from tiny_submissions import tiny_submission, tiny_units


def _unit(name: str, *needs: str, **more: object) -> WorkUnit:
    return WorkUnit(name=name, command=("info",), needs=needs, outputs=(Path(name),), **more)


def _names(levels: list[list[WorkUnit]]) -> list[list[str]]:
    return [[unit.name for unit in level] for level in levels]


def test_a_level_holds_what_needs_only_levels_before_it() -> None:
    units = [_unit("c", "b"), _unit("a"), _unit("b", "a"), _unit("d", "a", "b"), _unit("e")]
    assert _names(dependency_levels(units)) == [["a", "e"], ["b"], ["c", "d"]]


def test_a_need_that_is_not_to_be_run_is_taken_as_complete() -> None:
    assert _names(dependency_levels([_unit("b", "a")])) == [["b"]]


def test_units_that_need_each_other_are_no_levels() -> None:
    with pytest.raises(CycleError):
        dependency_levels([_unit("a", "b"), _unit("b", "a")])


def test_units_are_gathered_by_what_they_may_use(tmp_path: Path) -> None:
    groups = alike(tiny_units(tmp_path))
    assert [len(units) for _, units in groups] == [2, 1, 1]


def test_memory_is_rounded_up_to_whole_mebibytes() -> None:
    assert megabytes(Resources(memory_gb=1.5)) == 1536
    assert megabytes(Resources(memory_gb=0.0001)) == 1


def test_part_of_a_gpu_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"'half'.*0.5 of a GPU.*whole number of GPUs on Slurm"):
        whole_gpus(_unit("half", resources=Resources(gpus=0.5)), "Slurm")


def test_a_job_name_is_a_dns_label_and_long_ones_stay_different(tmp_path: Path) -> None:
    submission = tiny_submission(tmp_path, name="s" * 32)
    assert tiny_submission(tmp_path).job_name("a") == "tiny-a"
    first, second = (submission.job_name("u" * 62 + end) for end in "ab")
    assert len(first) == len(second) == 63
    assert first != second
    assert _unit(first).name == first  # a unit's name is a DNS label


@pytest.mark.parametrize("value", ["gpu", "a.b/c:1.0@sha256:1", "/data/STUDY.yaml"])
def test_plain_values_pass(value: str) -> None:
    assert plain(value, "--image") == value


@pytest.mark.parametrize("value", ["", "-x", "a b", "a\nb", "$(id)", "{{ x }}", "a;b", "a'b"])
def test_values_that_an_engine_could_misread_are_refused(value: str) -> None:
    with pytest.raises(RequestError, match="--image"):
        plain(value, "--image")
