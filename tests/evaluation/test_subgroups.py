import numpy as np
import pytest

from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.subgroups import subgroup_json

TASK = TaskSpec(name="kind", classes=("a", "b"))


def scored(
    number: int, dsc: float | None, *, patient: str = "", is_right: bool = True
) -> CaseScores:
    truth = "ab"[number % 2]
    said = truth if is_right else "ba"[number % 2]
    score = Score(value=None, reason="both empty") if dsc is None else Score(value=dsc)
    return CaseScores(
        case=f"c{number}",
        patient=patient or f"p{number}",
        segmentation={"organ": {"dsc": score}},
        volumes_ml={"organ": (float(number), 1.0)},
        answers={
            "kind": ClassAnswer(
                reference=truth,
                predicted=said,
                probabilities=(0.9, 0.1) if said == "a" else (0.1, 0.9),
            )
        },
    )


def division(cases: list[CaseScores], groups: dict[str, str]) -> dict:
    return subgroup_json(cases, groups, ["organ"], [TASK], seed=0)


def two_sites(gap: float) -> tuple[list[CaseScores], dict[str, str]]:
    spread = np.linspace(-0.05, 0.05, 10)
    cases = [scored(i, 0.9 + spread[i]) for i in range(10)]
    cases += [scored(10 + i, 0.9 - gap + spread[i]) for i in range(10)]
    return cases, {case.case: "north" if i < 10 else "south" for i, case in enumerate(cases)}


def test_each_group_has_its_own_figures_with_n_and_interval():
    """B19."""
    found = division(*two_sites(0.2))
    north, south = found["groups"]["north"], found["groups"]["south"]
    assert (north["n_cases"], north["n_patients"]) == (10, 10)
    figure = south["figures"]["segmentation/organ/dsc"]
    assert figure["value"] == pytest.approx(0.7)
    assert figure["ci95"][0] < 0.7 < figure["ci95"][1]
    assert figure["n"] == 10
    assert north["figures"]["classification/kind/accuracy"]["value"] == 1.0
    assert found["n_unknown"] == 0


def test_a_real_gap_is_told_from_chance():
    found = division(*two_sites(0.2))["gaps"]["segmentation/organ/dsc"]
    assert found["value"] == pytest.approx(0.2)
    assert (found["highest"], found["lowest"]) == ("north", "south")
    assert found["p"] < 0.001
    level = division(*two_sites(0.0))["gaps"]["segmentation/organ/dsc"]
    assert level["value"] == pytest.approx(0.0, abs=1e-12)
    assert level["p"] == 1.0


def test_many_cases_of_one_patient_are_one_observation():
    """The same values, but of two patients per site: 2 of the 6 ways to deal them are as far."""
    cases, groups = two_sites(0.2)
    few = [
        scored(i, case.segmentation["organ"]["dsc"].value, patient=f"p{i // 5}")
        for i, case in enumerate(cases)
    ]
    assert division(few, groups)["gaps"]["segmentation/organ/dsc"]["p"] > 0.2


def test_groups_under_five_cases_are_too_small_for_an_interval_and_the_gap():
    """Value and reason; the one case of the third site is far below, but is in no gap."""
    cases, groups = two_sites(0.1)
    cases.append(scored(20, 0.05))
    groups["c20"] = "west"
    found = division(cases, groups)
    west = found["groups"]["west"]["figures"]["segmentation/organ/dsc"]
    assert (west["value"], west["ci95"], west["n"]) == (0.05, None, 1)
    assert "too small" in west["reason"]
    assert found["gaps"]["segmentation/organ/dsc"]["value"] == pytest.approx(0.1)


def test_one_large_group_has_no_gap():
    cases, _ = two_sites(0.1)
    found = division(cases, {case.case: "only" for case in cases})
    assert found["gaps"]["segmentation/organ/dsc"]["value"] is None
    assert "two groups" in found["gaps"]["segmentation/organ/dsc"]["reason"]


def test_macro_f1_is_undefined_in_a_group_without_some_class():
    """A missing class would count as 0 and look like a failure."""
    cases, _ = two_sites(0.0)
    found = division(cases, {case.case: "ab"[i % 2] for i, case in enumerate(cases)})
    figures = found["groups"]["a"]["figures"]
    assert figures["classification/kind/macro_f1"]["value"] is None
    assert "no case of some class" in figures["classification/kind/macro_f1"]["reason"]
    assert figures["classification/kind/accuracy"]["value"] == 1.0


def test_unknown_groups_and_undefined_values_are_left_out_and_counted():
    cases, groups = two_sites(0.0)
    cases[0] = scored(0, None)
    del groups["c19"]
    found = division(cases, groups)
    assert found["n_unknown"] == 1
    assert found["groups"]["north"]["figures"]["segmentation/organ/dsc"]["n"] == 9
    assert found["groups"]["south"]["n_cases"] == 9
