"""F87: arms over seeds, by numbers worked by hand."""

from pathlib import Path

import pytest

from segduet.core.errors import DataError
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.ablation import merged, over_seeds, seed_figures
from segduet.evaluation.ablation_file import Ablation, AblationTable, ArmEntry, read_ablation
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.comparison import compare_runs

TASK = TaskSpec(name="kind", classes=("a", "b"))


def scored(case: str, dsc: float, chance_of_b: float, truth: str) -> CaseScores:
    return CaseScores(
        case=case,
        patient=case.partition("-")[0],
        segmentation={"lesion": {"dsc": Score(value=dsc)}},
        volumes_ml={"lesion": (1.0, 1.0)},
        answers={
            "kind": ClassAnswer(
                reference=truth,
                predicted="b" if chance_of_b > 0.5 else "a",
                probabilities=(1 - chance_of_b, chance_of_b),
            )
        },
    )


def run_of(name: str, shift: float, *, right: bool = True) -> ComparedRun:
    cases = [
        scored(
            f"p{n}-x", 0.5 + 0.01 * n + shift, 0.9 if (n % 2 == 1) is right else 0.1, "ab"[n % 2]
        )
        for n in range(8)
    ]
    return ComparedRun(name=name, folder=name, cases=cases, regions=("lesion",), tasks=(TASK,))


def table_of(arms: dict[str, dict[int, ComparedRun]]) -> AblationTable:
    comparison = compare_runs([over_seeds(runs) for runs in arms.values()], seed=0)
    entries = [ArmEntry(name=name, changes={}, status="done") for name in arms]
    return AblationTable(
        recipe="default",
        configuration="2d",
        arms=(
            *entries,
            ArmEntry(name="odd", changes={"epochs": 9}, status="failed", reason="u: x"),
        ),
        comparison=comparison,
        by_seed=tuple(seed_figures(arms, comparison.rows)),
    )


@pytest.fixture(scope="module")
def table() -> AblationTable:
    """The arm is 0.02 better in the first seed and 0.06 in the second; its classes are wrong."""
    return table_of(
        {
            "baseline": {0: run_of("baseline", 0.0), 1: run_of("baseline", 0.1)},
            "arm": {0: run_of("arm", 0.02, right=False), 1: run_of("arm", 0.16, right=True)},
        }
    )


def test_a_difference_is_taken_within_case_and_seed(table: AblationTable) -> None:
    """Mean of 8 times 0.02 and 8 times 0.06, though the seeds themselves differ by 0.1."""
    row = next(r for r in table.comparison.rows if r.subject == "lesion" and r.metric == "dsc")
    (difference,) = row.differences
    assert difference.difference.value == pytest.approx(0.04)
    assert difference.difference.n == 16
    assert difference.n_patients == 8
    assert difference.n_better == 16
    assert row.values["baseline"].value == pytest.approx(0.5 + 0.035 + 0.05)


def test_every_seed_is_shown_by_itself(table: AblationTable) -> None:
    figures = {(f.subject, f.metric, f.arm): f.values for f in table.by_seed}
    assert figures["lesion", "dsc", "arm"] == pytest.approx({0: 0.555, 1: 0.695})
    assert figures["mean_foreground", "dsc", "baseline"] == pytest.approx({0: 0.535, 1: 0.635})
    assert figures["kind", "accuracy", "arm"] == {0: 0.0, 1: 1.0}


def test_one_seed_leaves_the_cases_their_names() -> None:
    run = run_of("arm", 0.0)
    assert over_seeds({3: run}) is run
    assert [c.case for c in over_seeds({3: run, 4: run}).cases][::8] == [
        "p0-x, seed 3", "p0-x, seed 4",
    ]  # fmt: skip


def test_folds_are_put_together_and_the_largest_choice_counts() -> None:
    first, second = run_of("a", 0.0), run_of("a", 0.1)
    chosen = ComparedRun(
        name="a",
        folder="b",
        cases=second.cases,
        regions=("lesion",),
        tasks=(TASK,),
        selected_from=7,
    )
    together = merged("arm", [first, chosen])
    assert (together.name, len(together.cases), together.selected_from) == ("arm", 16, 7)


def test_the_file_is_read_back_as_it_was_written(tmp_path: Path, table: AblationTable) -> None:
    ablation = Ablation(
        study="s", seeds=(0, 1), folds=(0,), judged_by="validation", tables=(table,)
    )
    ablation.write(tmp_path / "ablation.json")
    assert read_ablation(tmp_path / "ablation.json") == ablation
    (tmp_path / "ablation.json").write_text('{"study": 1}')
    with pytest.raises(DataError, match=r"ablation\.json"):
        read_ablation(tmp_path / "ablation.json")
