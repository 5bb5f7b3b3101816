from dataclasses import replace

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.comparison import compare_runs
from segduet.evaluation.comparison_file import Comparison, FigureRow, read_comparison

TASK = TaskSpec(name="kind", classes=("a", "b"))


def scored(number: int, dsc: float | None, said: str, *, volume: float = 1.0) -> CaseScores:
    score = Score(value=None, reason="both empty") if dsc is None else Score(value=dsc)
    difference = Score(value=volume * (-1) ** number)
    return CaseScores(
        case=f"c{number:02d}",
        patient=f"p{number:02d}",
        segmentation={"organ": {"dsc": score, "volume_difference_ml": difference}},
        volumes_ml={"organ": (10.0, 10.0)},
        answers={
            "kind": ClassAnswer(
                reference="ab"[number % 2],
                predicted=said,
                probabilities=(0.9, 0.1) if said == "a" else (0.1, 0.9),
            )
        },
    )


def run(name: str, cases: list[CaseScores], **options) -> ComparedRun:
    settings = {"regions": ("organ",), "tasks": (TASK,), **options}
    return ComparedRun(name=name, folder=f"runs/{name}", cases=cases, **settings)


BASE = [scored(i, 0.6 + 0.01 * i, "ab"[i % 2] if i % 4 == 0 else "a") for i in range(30)]


def shifted(change: float) -> list[CaseScores]:
    return [
        scored(i, case.segmentation["organ"]["dsc"].value + change, "ab"[i % 2])
        for i, case in enumerate(BASE)
    ]


def row(comparison: Comparison, subject: str, metric: str) -> FigureRow:
    return next(r for r in comparison.rows if (r.subject, r.metric) == (subject, metric))


def test_a_better_run_is_better_in_both_answers_and_says_by_how_much():
    """F83, F86: values, paired difference with interval, p, n, and cases won."""
    better = [
        replace(case, segmentation={"organ": {**case.segmentation["organ"]}})
        for case in shifted(0.05)
    ]
    better[3] = scored(3, 0.60, "b")  # one case lost
    found = compare_runs([run("old", BASE), run("new", better)], seed=0)
    dsc = row(found, "organ", "dsc")
    (difference,) = dsc.differences
    assert dsc.values["old"].value == pytest.approx(0.745)
    assert difference.difference.value == pytest.approx((29 * 0.05 - 0.03) / 30)
    assert difference.difference.ci95[0] > 0
    assert (difference.n_better, difference.n_worse, difference.n_left_out) == (29, 1, 0)
    assert (difference.difference.n, difference.n_patients) == (30, 30)
    assert difference.p < 0.001
    assert difference.p_holm == difference.p
    assert difference.verdict == "better"
    macro = row(found, "kind", "macro_f1")
    assert macro.differences[0].run_value == 1.0
    assert macro.differences[0].verdict == "better"
    assert row(found, "kind", "brier").differences[0].verdict == "better"  # lower is better
    assert row(found, "kind", "brier").differences[0].difference.value < 0


def test_the_same_run_twice_settles_nothing():
    found = compare_runs([run("old", BASE), run("again", BASE)], seed=0)
    for figure in found.rows:
        (difference,) = figure.differences
        assert difference.difference.value in (0.0, None)
        assert difference.verdict in ("not settled", "not measured")
        assert difference.p in (1.0, None)


def test_several_runs_are_each_compared_with_the_first_and_corrected():
    """F83: p of the middle of three is doubled by Holm only as long as another is in play."""
    rng = np.random.default_rng(0)
    noisy = [
        scored(i, case.segmentation["organ"]["dsc"].value + rng.normal(0.02, 0.05), "a")
        for i, case in enumerate(BASE)
    ]
    found = compare_runs([run("old", BASE), run("noisy", noisy), run("new", shifted(0.05))], seed=0)
    noisier, better = row(found, "organ", "dsc").differences
    assert [noisier.run, better.run] == ["noisy", "new"]
    assert better.p_holm == pytest.approx(2 * better.p)
    assert noisier.p_holm == pytest.approx(max(noisier.p, better.p_holm))


def test_volume_differences_are_compared_by_their_size():
    """Signed ones would average to zero and call a far worse run equal."""
    far = [scored(i, 0.7, "a", volume=5.0) for i in range(30)]
    near = [scored(i, 0.7, "a", volume=1.0) for i in range(30)]
    figure = row(
        compare_runs([run("near", near), run("far", far)], seed=0), "organ", "volume_difference_ml"
    )
    assert (figure.label, figure.better) == ("|Volume difference|", "lower")
    assert figure.differences[0].difference.value == pytest.approx(4.0)
    assert figure.differences[0].verdict == "worse"


def test_cases_undefined_in_one_run_are_left_out_of_both_and_counted():
    """F56."""
    holes = [scored(i, None if i < 4 else 0.9, "a") for i in range(30)]
    difference = row(
        compare_runs([run("old", BASE), run("holes", holes)], seed=0), "organ", "dsc"
    ).differences[0]
    assert (difference.difference.n, difference.n_left_out) == (26, 4)
    assert difference.reference_value == pytest.approx(
        np.mean([0.6 + 0.01 * i for i in range(4, 30)])
    )


def test_joint_against_single_task_models():
    """F95: what a run has not measured is said, and no error; the rest is compared."""
    masks_only = [replace(case, answers={}) for case in shifted(-0.05)]
    classes_only = [replace(case, segmentation={}, volumes_ml={}) for case in BASE]
    found = compare_runs(
        [
            run("joint", shifted(0.0)),
            run("masks", masks_only, tasks=()),
            run("classes", classes_only, regions=()),
        ],
        seed=0,
    )
    dsc, macro = row(found, "organ", "dsc"), row(found, "kind", "macro_f1")
    assert [d.verdict for d in dsc.differences] == ["worse", "not measured"]
    assert [d.verdict for d in macro.differences] == ["not measured", "worse"]
    assert dsc.values["classes"].reason == "not measured in this run"
    assert dsc.differences[0].p_holm == dsc.differences[0].p  # one test, nothing to correct
    joint, masks, classes = found.runs
    assert {split.region for split in joint.dsc_by_answer} == {"organ", "mean_foreground"}
    assert (masks.dsc_by_answer, classes.dsc_by_answer) == ((), ())
    assert (masks.tasks, classes.measures_masks) == ((), False)


def test_a_chosen_run_states_its_optimism():
    """F83, B19."""
    found = compare_runs([run("old", BASE), run("best", shifted(0.01), selected_from=10)], seed=0)
    values = row(found, "organ", "dsc").values
    assert values["old"].optimism is None
    assert 0 < values["best"].optimism < 0.1


def without(cases: list[CaseScores], number: int) -> list[CaseScores]:
    return [case for i, case in enumerate(cases) if i != number]


def changed(**change) -> list[CaseScores]:
    return [*BASE[:-1], replace(BASE[-1], **change)]


OTHER_TRUTH = {"kind": replace(BASE[-1].answers["kind"], reference="a")}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (run("r", without(BASE, 5)), ["1 cases missing", "c05", "case by case"]),
        (run("r", [*BASE, scored(30, 0.5, "a")]), ["1 cases more", "c30"]),
        (run("r", changed(patient="x")), ["case 'c29'", "patient x", "p29, as in runs/old"]),
        (run("r", changed(answers=OTHER_TRUTH)), ["case 'c29'", "true 'kind' a", "b, as in"]),
        (run("r", changed(volumes_ml={"organ": (11.0, 9.0)})), ["c29", "11 ml", "10 ml"]),
        (run("r", BASE, regions=("liver",)), ["other regions: ['liver']"]),
        (run("r", BASE, tasks=(TaskSpec(name="x", classes=("a", "b")),)), ["other tasks: ['x']"]),
        (
            run("r", BASE, tasks=(TaskSpec(name="kind", classes=("a", "c")),)),
            ["other task 'kind'", "['a', 'c']"],
        ),
    ],
)
def test_runs_of_other_cases_truths_or_questions_are_refused(other, words):
    """F86: one clear message each."""
    with pytest.raises(DataError) as error:
        compare_runs([run("old", BASE), other], seed=0)
    assert [word for word in ["run runs/r", *words] if word not in str(error.value)] == []


def test_the_file_comes_back_as_it_was_and_edits_are_refused(tmp_path):
    source = tmp_path / "comparison.json"
    found = compare_runs([run("old", BASE), run("new", shifted(0.05))], seed=0)
    found.write(source)
    assert read_comparison(source) == found
    source.write_text(source.read_text().replace('"verdict": "better"', '"verdict": "superb"'))
    with pytest.raises(DataError, match="verdict"):
        read_comparison(source)
