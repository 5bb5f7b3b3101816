"""D9: does calibration keep its promises where the truth is known, because it was drawn?

Usage: python benchmarks/calibration_simulation.py [--quick]

Three classes of 50, 35 and 15 %, recognised more and less well. Honest logits are multiplied by 3,
so that the answers are overconfident. Each repetition learns on 200 cases, as `segduet calibrate
learn` does, and is judged on 2000 others. `single_cases`: each patient has one case. `repeated`:
each has three that resemble each other, and all the cases of a patient count as one.

Bars: ECE at least halved; in every class the mean coverage over the repetitions is at least
1 - alpha, or its 95 % interval reaches that far. Writes docs/results/calibration_simulation.json in
under two minutes; --quick takes a tenth of the repetitions and writes nothing.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from results_file import write_result
from segduet.core.answers import decided_class
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration import scaled_answers
from segduet.evaluation.calibration_fit import fit_temperatures, negative_log_likelihoods
from segduet.evaluation.calibration_risk import aurc
from segduet.evaluation.classification import TaskAnswers, estimate_json
from segduet.evaluation.conformal import in_set, is_withheld
from segduet.evaluation.conformal_fit import least_probabilities
from segduet.evaluation.intervals import mean_estimate
from segduet.metrics.probability import brier, ece

TASK = TaskSpec(name="class", classes=("common", "usual", "rare"))
SHARES = (0.5, 0.35, 0.15)
#: How far the right class stands out, in logits.
STRENGTH = (2.5, 1.5, 0.7)
OVERCONFIDENCE = 3.0
ALPHAS = (0.1, 0.2)
NUM_LEARNED, NUM_JUDGED = 200, 2000
NUM_REPETITIONS = 200
CASES_OF_A_PATIENT = 3


def main() -> None:
    """Repeats, sums up, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    number = NUM_REPETITIONS // 10 if parser.parse_args().quick else NUM_REPETITIONS
    figures = {
        "single_cases": _summary([_repetition(seed, 1) for seed in range(number)]),
        "repeated": _summary([_repetition(seed, CASES_OF_A_PATIENT) for seed in range(number)]),
        "setting": {
            "classes": dict(zip(TASK.classes, SHARES, strict=True)),
            "overconfidence": OVERCONFIDENCE,
            "cases_learned": NUM_LEARNED,
            "cases_judged": NUM_JUDGED,
            "repetitions": number,
            "cases_of_a_patient": {"single_cases": 1, "repeated": CASES_OF_A_PATIENT},
        },
    }
    for name in ("single_cases", "repeated"):
        print(name, "passed" if figures[name]["passed"] else "NOT passed")
    if number == NUM_REPETITIONS:
        write_result("calibration_simulation", seeds=range(number), figures=figures)


def _repetition(seed: int, cases_of_a_patient: int) -> dict[str, float]:
    """What one calibration does to cases it was not learned on."""
    rng = np.random.default_rng(seed)
    learned = _cases(rng, NUM_LEARNED // cases_of_a_patient, cases_of_a_patient)
    judged = _cases(rng, NUM_JUDGED // cases_of_a_patient, cases_of_a_patient)
    temperatures = fit_temperatures(learned)
    before, truth = judged.probabilities, judged.reference
    after = scaled_answers(TASK, before, temperatures)
    found = {"temperature": float(temperatures[0])}
    for name, chances in (("before", before), ("after", after)):
        found |= {
            f"ece_{name}": float(ece(truth, chances)),
            f"brier_{name}": float(brier(truth, chances)),
            f"nll_{name}": float(negative_log_likelihoods(truth, chances).mean()),
        }
    decided = decided_class(TASK, before)
    is_wrong = decided != truth
    found |= {"aurc": float(aurc(after.max(1), is_wrong)), "error_rate": float(is_wrong.mean())}
    for alpha in ALPHAS:
        members = in_set(before, least_probabilities(learned, alpha))
        withheld = is_withheld(members, decided, after, None)
        holds = np.take_along_axis(members, truth[:, None], axis=1)[:, 0]
        found |= _of_sets(f"{alpha:g}", judged, holds)
        found[f"abstained_{alpha:g}"] = float(withheld.mean())
        found[f"error_answered_{alpha:g}"] = (
            float(is_wrong[~withheld].mean()) if not withheld.all() else float("nan")
        )
    return found


def _of_sets(level: str, judged: TaskAnswers, holds: np.ndarray) -> dict[str, float]:
    """Coverage by class: of patients with all their cases."""
    _, patient = np.unique(np.asarray(judged.patients), return_inverse=True)
    missed = np.bincount(patient, weights=~holds) > 0
    class_of = np.zeros(missed.size, dtype=np.int64)
    class_of[patient] = judged.reference
    return {
        f"coverage_{level}_{name}": float((~missed[class_of == k]).mean())
        for k, name in enumerate(TASK.classes)
    }


def _cases(rng: np.random.Generator, num_patients: int, cases_each: int) -> TaskAnswers:
    """Patients with overconfident answers; the cases of one share half of what is noise."""
    of_patient = rng.choice(3, size=num_patients, p=SHARES)
    shared = rng.normal(size=(num_patients, 1, 3))
    own = rng.normal(size=(num_patients, cases_each, 3))
    noise = np.sqrt(0.5) * (shared + own) if cases_each > 1 else own
    signal = np.array(STRENGTH)[of_patient][:, None, None] * np.eye(3)[of_patient][:, None]
    seen = (noise + signal).reshape(-1, 3)
    honest = np.array(STRENGTH) * seen - np.square(STRENGTH) / 2 + np.log(SHARES)
    chances = np.exp(OVERCONFIDENCE * (honest - honest.max(1, keepdims=True)))
    return TaskAnswers(
        task=TASK,
        reference=np.repeat(of_patient, cases_each),
        probabilities=chances / chances.sum(1, keepdims=True),
        patients=tuple(f"p{i}" for i in range(num_patients) for _ in range(cases_each)),
    )


def _summary(repetitions: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean of every figure over the repetitions with its interval, and whether the bars hold."""
    names = [str(i) for i in range(len(repetitions))]
    figures = {}
    for name in repetitions[0]:
        values = [r[name] for r in repetitions]
        kept = [(v, n) for v, n in zip(values, names, strict=True) if not np.isnan(v)]
        estimate = mean_estimate([v for v, _ in kept], [n for _, n in kept], seed=0)
        figures[name] = estimate_json(estimate)
    halved = figures["ece_after"]["value"] <= figures["ece_before"]["value"] / 2
    covered = {
        f"{alpha:g}": {
            name: figures[f"coverage_{alpha:g}_{name}"]["ci95"][1] >= 1 - alpha
            for name in TASK.classes
        }
        for alpha in ALPHAS
    }
    passed = halved and all(all(by_class.values()) for by_class in covered.values())
    return {**figures, "ece_halved": halved, "covered": covered, "passed": passed}


if __name__ == "__main__":
    main()
