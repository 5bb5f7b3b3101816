"""B14: the accuracy gate, worked by hand."""

import json

import numpy as np
import pytest

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.evaluation.gate import HeldAnswers, judge
from segduet.evaluation.gate_report import ClassFlip, GateBounds, GateReport
from segduet.evaluation.scoring import class_answer, score_case

_LABELS = LabelScheme.from_dataset_json({"background": 0, "lesion": 1}, None, where="test")
_KIND = TaskSpec(name="kind", classes=("a", "b"))
_SIZE = TaskSpec(name="size", kind="regression", unit="ml")
_LENGTH = 1000


def _volume(run):
    """A label map of one row with label 1 from `run[0]` up to `run[1]`."""
    array = np.zeros((1, 1, 1, _LENGTH), dtype=np.uint8)
    array[..., slice(*run)] = 1
    return Volume(
        array=array, geometry=Geometry(shape_zyx=(1, 1, _LENGTH), spacing_zyx_mm=(1, 1, 1))
    )


def _scored(case, drawn, found, answers=()):
    record = CaseRecord(
        case=case, patient=case, labels={t.name: truth for t, truth, _ in answers if truth}
    )
    said = {
        task.name: class_answer(record, task, np.array(numbers, dtype=float))
        for task, _, numbers in answers
    }
    return score_case(
        record,
        None if drawn is None else _volume(drawn),
        None if drawn is None else _volume(found),
        labels=_LABELS,
        answers=said,
    )


def _held(rows):
    """Rows of (drawn, reference's, candidate's) runs; two models' answers may follow."""
    reference, candidate, agreement = [], [], []
    for number, (drawn, first, second, *answers) in enumerate(rows):
        case = f"c{number}"
        said = answers or [(), ()]
        reference.append(_scored(case, drawn, first, said[0]))
        candidate.append(_scored(case, drawn, second, said[1]))
        agreement.append(_scored(case, first, second))
    return HeldAnswers(reference=reference, candidate=candidate, agreement=agreement)


def _classes(*answers, truths):
    """Held cases of which only the class is answered; `answers` are two strings such as "aab"."""

    def scored(case, truth, letter):
        numbers = (0.9, 0.1) if letter == "a" else (0.1, 0.9)
        return _scored(case, None, None, [(_KIND, truth, numbers)])

    first, second = (
        [
            scored(f"c{i}", truth if truth != "?" else None, letter)
            for i, (truth, letter) in enumerate(zip(truths, letters, strict=True))
        ]
        for letters in answers
    )
    alone = [CaseScores(case=f"c{i}", patient=f"c{i}") for i in range(len(truths))]
    return HeldAnswers(reference=first, candidate=second, agreement=alone)


def test_the_same_answers_pass_with_a_change_of_zero():
    report = judge(
        _held([((0, 100), (0, 90), (0, 90)), ((0, 100), (0, 95), (0, 95))]),
        tasks=(),
        bounds=GateBounds(),
    )

    assert report.passed
    assert report.reasons == report.not_judged == report.flips == ()
    assert (report.n, report.num_with_masks) == (2, 2)
    (lesion,) = report.regions
    # DSC 180/190 and 190/195
    assert lesion.reference_dsc == lesion.candidate_dsc == pytest.approx((18 / 19 + 38 / 39) / 2)
    assert (lesion.dsc_change.value, lesion.dice.value, lesion.lowest_dice) == (0, 1, 1)


def test_a_loss_exactly_at_the_bound_passes_and_a_voxel_more_is_refused():
    """DSC falls from 1 to 2*90/190 = 18/19 in one of two cases: a mean loss of 1/38."""
    rows = [((0, 100), (0, 100), (0, 90)), ((0, 100), (0, 100), (0, 100))]
    at_bound = GateBounds(max_dsc_loss=1 / 38, min_dice=0.9)

    passed = judge(_held(rows), tasks=(), bounds=at_bound)
    rows[0] = ((0, 100), (0, 100), (0, 89))
    refused = judge(_held(rows), tasks=(), bounds=at_bound)

    assert passed.passed
    assert passed.regions[0].dsc_change.value == pytest.approx(-1 / 38)
    assert not refused.passed
    assert len(refused.reasons) == 1
    assert "region 'lesion': mean DSC falls from 1.0000 to 0.9709" in refused.reasons[0]


def test_dice_with_the_other_model_is_bounded_even_where_dsc_rises():
    """The candidate is better against the drawn mask, and yet another model: Dice 2*90/190."""
    report = judge(_held([((0, 90), (0, 100), (0, 90))] * 2), tasks=(), bounds=GateBounds())

    assert report.regions[0].dsc_change.value == pytest.approx(1 - 18 / 19)
    assert report.regions[0].dice.value == pytest.approx(18 / 19)
    assert [reason.split(",")[0] for reason in report.reasons] == [
        "region 'lesion': Dice with the reference model's masks 0.9474 (n = 2)"
    ]
    exactly = GateBounds(min_dice=18 / 19)
    assert judge(_held([((0, 90), (0, 100), (0, 90))] * 2), tasks=(), bounds=exactly).passed


def test_the_case_with_the_lowest_dice_is_named():
    rows = [((0, 100), (0, 100), (0, 100)), ((0, 100), (0, 100), (0, 60))]

    (lesion,) = judge(_held(rows), tasks=(), bounds=GateBounds()).regions

    assert (lesion.lowest_case, lesion.lowest_dice) == ("c1", pytest.approx(0.75))


def test_empty_cases_do_not_water_a_loss_down():
    """Nine cases without the region change neither mean."""
    lost = ((0, 100), (0, 100), (0, 90))
    empty = ((0, 0), (0, 0), (0, 0))

    report = judge(_held([lost, *[empty] * 9]), tasks=(), bounds=GateBounds())

    (lesion,) = report.regions
    assert lesion.dsc_change.value == pytest.approx(-1 / 19)
    assert (lesion.dsc_change.n, lesion.dice.n, report.n) == (1, 1, 10)


def test_finding_what_is_not_there_is_a_loss_of_one():
    report = judge(_held([((0, 0), (0, 0), (0, 5))]), tasks=(), bounds=GateBounds())

    (lesion,) = report.regions
    assert (lesion.reference_dsc, lesion.candidate_dsc, lesion.dice.value) == (1, 0, 0)
    assert not report.passed


def test_no_longer_finding_what_is_not_there_is_a_gain():
    report = judge(_held([((0, 0), (0, 5), (0, 0))]), tasks=(), bounds=GateBounds(min_dice=0))

    assert report.regions[0].dsc_change.value == 1
    assert report.passed


def test_masks_that_are_empty_everywhere_prove_nothing():
    report = judge(_held([((0, 0), (0, 0), (0, 0))] * 3), tasks=(), bounds=GateBounds())

    assert not report.passed
    assert report.reasons == (
        "no held case shows any region to either model, so masks cannot be judged",
    )
    assert len(report.not_judged) == 2


def test_images_alone_are_judged_by_agreement_and_it_is_said():
    def held(second):
        first = [CaseScores(case="c0", patient="c0")]
        return HeldAnswers(
            reference=first, candidate=first, agreement=[_scored("c0", (0, 100), second)]
        )

    near, far = (judge(held(m), tasks=(), bounds=GateBounds()) for m in ((0, 99), (0, 90)))

    assert near.passed
    assert near.num_with_masks == 0
    assert near.regions[0].dice.value == pytest.approx(198 / 199)
    assert near.regions[0].dsc_change.value is None
    assert near.not_judged == (
        "region 'lesion': DSC, as no held case has a drawn mask with anything",
    )
    assert not far.passed


def test_one_flip_is_listed_and_costs_macro_f1():
    """Of a,a,b,b the candidate answers a,b,b,b: F1 is 2/3 for a and 4/5 for b."""
    held = _classes("aabb", "abbb", truths="aabb")

    report = judge(held, tasks=(_KIND,), bounds=GateBounds())

    (figures,) = report.tasks
    assert (figures.measure, figures.reference) == ("macro_f1", 1)
    assert figures.candidate == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert figures.change.value == pytest.approx(-4 / 15)
    assert figures.agreement.value == 0.75
    assert report.flips == (
        ClassFlip(case="c1", task="kind", reference="a", candidate="b", truth="a"),
    )
    assert report.reasons == (
        "task 'kind': macro_f1 falls from 1.0000 to 0.7333 (n = 4); at most 0.02 may be lost",
    )
    assert judge(held, tasks=(_KIND,), bounds=GateBounds(max_macro_f1_loss=4 / 15)).passed


def test_a_flip_to_the_truth_is_listed_and_passes():
    report = judge(_classes("abbb", "aabb", truths="aabb"), tasks=(_KIND,), bounds=GateBounds())

    assert report.passed
    assert [(f.case, f.truth) for f in report.flips] == [("c1", "a")]


def test_answers_nobody_knows_the_truth_of_must_agree():
    held = _classes("aabb", "abbb", truths="????")

    report = judge(held, tasks=(_KIND,), bounds=GateBounds())

    assert report.tasks[0].reference is None
    assert report.flips[0].truth is None
    assert report.reasons == (
        "task 'kind': agreement with the reference model's answers 0.7500 (n = 4); at least 0.98 "
        "is wanted",
    )
    assert report.not_judged == ("task 'kind': macro_f1, as no case has a known answer",)
    assert judge(held, tasks=(_KIND,), bounds=GateBounds(min_agreement=0.75)).passed


def test_numbers_are_judged_by_their_r2():
    """Truth 1, 2, 3 and a candidate off by 1 in one case: R2 = 1 - 1/2."""
    truth = ("1", "2", "3")

    def scored(numbers):
        return [
            _scored(f"c{i}", None, None, [(_SIZE, t, (n,))])
            for i, (t, n) in enumerate(zip(truth, numbers, strict=True))
        ]

    alone = [CaseScores(case=f"c{i}", patient=f"c{i}") for i in range(3)]
    held = HeldAnswers(reference=scored((1, 2, 3)), candidate=scored((1, 3, 3)), agreement=alone)

    report = judge(held, tasks=(_SIZE,), bounds=GateBounds())

    (figures,) = report.tasks
    assert (figures.measure, figures.reference, figures.candidate) == ("r2", 1, 0.5)
    assert figures.agreement.value == 0.5
    assert report.flips == ()
    assert "r2 falls from 1.0000 to 0.5000" in report.reasons[0]


def test_a_loss_has_its_interval_over_patients():
    rows = [((0, 100), (0, 100), (0, 90 + i)) for i in range(8)]

    change = judge(_held(rows), tasks=(), bounds=GateBounds()).regions[0].dsc_change

    low, high = change.ci95
    assert low < change.value < high < 0
    assert change.n == 8


def test_a_case_that_one_model_did_not_answer_is_named():
    scored = [_scored(f"c{i}", (0, 9), (0, 9)) for i in range(3)]

    with pytest.raises(DataError, match="1 cases that only one model answered, first 'c1'"):
        HeldAnswers(reference=scored, candidate=[scored[0], scored[2]], agreement=scored)


def test_no_held_case_is_refused():
    with pytest.raises(DataError, match="no held case"):
        HeldAnswers(reference=[], candidate=[], agreement=[])


def test_the_report_survives_a_file():
    held = _held([((0, 100), (0, 100), (0, 90))] * 2)
    report = judge(held, tasks=(), bounds=GateBounds())

    assert GateReport.model_validate(json.loads(report.model_dump_json())) == report


def test_answers_that_all_agree_have_an_interval_nevertheless():
    """B19: twenty of twenty: 19 / (19 + t(19)^2), by hand."""
    report = judge(
        _classes("ab" * 10, "ab" * 10, truths="ab" * 10), tasks=(_KIND,), bounds=GateBounds()
    )
    (figures,) = report.tasks
    assert figures.agreement.value == 1
    assert figures.agreement.ci95 == pytest.approx((19 / (19 + 2.093024**2), 1))
