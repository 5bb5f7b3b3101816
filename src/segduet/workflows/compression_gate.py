"""A smaller or faster model beside the one it was made from, on held cases; the gate (B14)."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from segduet.core.cases import CaseRecord
from segduet.core.errors import RequestError
from segduet.core.prediction import Prediction
from segduet.core.scores import CaseScores, ClassAnswer, Estimate
from segduet.core.volume import Volume
from segduet.evaluation.gate import HeldAnswers, judge
from segduet.evaluation.gate_report import GateBounds, GateReport
from segduet.evaluation.scoring import class_answer, score_case
from segduet.io.images import read_image, read_label_map
from segduet.workflows.calibration_cases import HeldCase
from segduet.workflows.models import Model

#: An image and its case id -> both answers.
Predict = Callable[[Volume, str], Prediction]


def run_gate(
    reference: Predict,
    candidate: Predict,
    held: Iterable[HeldCase],
    *,
    model: Model,
    bounds: GateBounds,
    say: Callable[[str], None],
) -> GateReport:
    """Lets both models answer the held cases and judges the candidate.

    Args:
        reference: the model that is to be replaced.
        candidate: the smaller or faster one.
        held: cases that the candidate was not fitted to.
        model: their labels and tasks.
        bounds: what may be lost.
        say: told of every case.

    Raises:
        DataError: no held case, or one that cannot be read or answered.
    """
    scores: tuple[list[CaseScores], ...] = ([], [], [])
    for case in held:
        say(f"gate: {case.record.case}")
        volume = read_image(case.images)
        answers = [predict(volume, case.record.case) for predict in (reference, candidate)]
        drawn = read_label_map(case.mask) if case.mask is not None else None
        for found, measured in zip(
            scores, _measured(case.record, drawn, answers, model), strict=True
        ):
            found.append(measured)
    answered = HeldAnswers(reference=scores[0], candidate=scores[1], agreement=scores[2])
    return judge(answered, tasks=model.tasks, bounds=bounds)


def require_passed(report: GateReport, *, consequence: str = "") -> None:
    """Refuses a candidate that the gate did not let through.

    Args:
        report: the gate's.
        consequence: what was left undone, a sentence.

    Raises:
        RequestError: it lost more than the bounds allow; every reason and every flip is named.
    """
    if report.passed:
        return
    raise RequestError(
        "accuracy gate",
        found="\n".join(["a model that loses too much", *gate_lines(report), ""]),
        expected="answers as good as those of the model it was made from, within the bounds",
        remedy="Train it on or calibrate it with more typical cases, keep the original, or allow a "
        f"larger loss if it is acceptable. {consequence}".rstrip(),
    )


def gate_lines(report: GateReport) -> Iterator[str]:
    """The report in a few lines for the terminal."""
    basis = f"{report.num_with_masks} with drawn masks" if report.num_with_masks else "images alone"
    yield f"gate: {'passed' if report.passed else 'REFUSED'} on {report.n} held cases ({basis})"
    if report.float_parts is not None and report.float_parts.has_dice:
        parts = report.float_parts
        yield (
            f"  8 bits but for {parts.ends_in_float} convolutions in a row at both ends, chosen "
            f"from {len(report.tried)} by Dice {parts.lowest_dice:.4f} on calibration cases"
        )
    for region in report.regions:
        yield (
            f"  {region.name}: DSC {_shown(region.reference_dsc)} -> "
            f"{_shown(region.candidate_dsc)} ({_interval(region.dsc_change)}), Dice with the "
            f"original's masks {_shown(region.dice.value)}, lowest {_shown(region.lowest_dice)}"
        )
    for task in report.tasks:
        yield (
            f"  {task.name}: {task.measure} {_shown(task.reference)} -> {_shown(task.candidate)} "
            f"({_interval(task.change)}), agreement {_shown(task.agreement.value)}"
        )
    for flip in report.flips:
        truth = flip.truth or "unknown"
        yield f"  flip: {flip.case}, {flip.task} {flip.reference} -> {flip.candidate} ({truth})"
    yield from (f"  refused: {reason}" for reason in report.reasons)
    yield from (f"  not judged: {sentence}" for sentence in report.not_judged)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _interval(change: Estimate) -> str:
    if change.value is None:
        return "not measured"
    bounds = f" [{change.ci95[0]:+.4f}, {change.ci95[1]:+.4f}]" if change.ci95 else ""
    return f"{change.value:+.4f}{bounds}, n = {change.n}"


def _measured(
    record: CaseRecord, drawn: Volume | None, answers: Sequence[Prediction], model: Model
) -> tuple[CaseScores, ...]:
    """Reference and candidate against what is true, and the candidate against the reference."""
    masks = [_mask(answer) for answer in answers]
    against_truth = [
        score_case(record, drawn, mask, labels=model.labels, answers=_said(record, answer, model))
        for mask, answer in zip(masks, answers, strict=True)
    ]
    return (*against_truth, score_case(record, *masks, labels=model.labels, answers={}))


def _said(record: CaseRecord, answer: Prediction, model: Model) -> dict[str, ClassAnswer]:
    return {
        task.name: class_answer(record, task, answer.probabilities[task.name])
        for task in model.tasks
    }


def _mask(prediction: Prediction) -> Volume | None:
    if prediction.label_map is None:
        return None
    return Volume(array=prediction.label_map[None], geometry=prediction.geometry)
