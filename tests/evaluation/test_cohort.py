import json

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.baselines import Baseline
from segduet.evaluation.cohort import mean_foreground_dsc, read_summary, summarize
from segduet.evaluation.targets import Target

LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,)), ("cyst", (2,))))
TASK = TaskSpec(name="kind", classes=("a", "b"))
EMPTY = Score(value=None, reason="both masks are empty")


def scored(case: str, organ: float, cyst: float | None, reference: str) -> CaseScores:
    def region(dsc: float | None) -> dict[str, Score]:
        score = EMPTY if dsc is None else Score(value=dsc)
        return {"dsc": score, "iou": score, "volume_difference_ml": Score(value=1.0)}

    answer = ClassAnswer(reference=reference, predicted="a", probabilities=(0.75, 0.25))
    return CaseScores(
        case=case,
        patient=case,
        segmentation={"organ": region(organ), "cyst": region(cyst)},
        volumes_ml={"organ": (10.0, 11.0), "cyst": (1.0, 2.0)},
        answers={"kind": answer},
    )


COHORT = [
    scored("c1", 0.9, 0.5, "a"),
    scored("c2", 0.8, None, "b"),
    scored("c3", 0.7, 0.1, "a"),
    scored("c4", 0.6, None, "b"),
]


def summary(**options) -> dict:
    return summarize(COHORT, LABELS, [TASK], seed=0, selected_from=1, **options).to_json()


def test_region_figures_by_hand():
    """F81: mean, sd, median and n over the cases where the region exists in either mask."""
    content = summary()
    organ, cyst = content["segmentation"]["organ"]["dsc"], content["segmentation"]["cyst"]["dsc"]
    assert organ["mean"] == pytest.approx(0.75)
    assert organ["sd"] == pytest.approx(np.std([0.9, 0.8, 0.7, 0.6], ddof=1))
    assert organ["median"] == pytest.approx(0.75)
    assert organ["ci95"][0] < 0.75 < organ["ci95"][1]
    assert (organ["n"], organ["n_undefined"], organ["unit"]) == (4, 0, "")
    assert (cyst["mean"], cyst["n"], cyst["n_undefined"]) == (pytest.approx(0.3), 2, 2)
    volume = content["segmentation"]["cyst"]["volume_difference_ml"]
    assert (volume["mean"], volume["unit"], volume["ci95"]) == (1.0, "ml", None)
    assert "equal" in volume["reason"]


def test_mean_foreground_averages_cases_of_their_own_mean():
    """c1 (.9 + .5)/2, c2 .8, c3 (.7 + .1)/2, c4 .6."""
    figure = summary()["segmentation"]["mean_foreground"]["dsc"]
    assert figure["mean"] == pytest.approx((0.7 + 0.8 + 0.4 + 0.6) / 4)
    nothing = CaseScores(case="x", patient="x", segmentation={"organ": {"dsc": EMPTY}})
    assert mean_foreground_dsc(nothing, LABELS).value is None


def test_schema_of_summary_json(tmp_path):
    """cli.md: the keys and shapes that users rely on; strict JSON without NaN."""
    summarize(COHORT, LABELS, [TASK], seed=0, selected_from=3).write(tmp_path / "summary.json")
    content = read_summary(tmp_path / "summary.json")
    assert content["schema_version"] == 1
    assert content["n_cases"] == 4
    assert content["selected_from"] == 3
    assert set(content["segmentation"]) == {"organ", "cyst", "mean_foreground"}
    macro = content["classification"]["kind"]["macro_f1"]
    assert macro["value"] == pytest.approx(1 / 3)  # always "a": F1 2/3 and 0
    assert len(macro["ci95"]) == 2
    assert macro["n"] == 4
    assert content["classification"]["kind"]["confusion_matrix"]["counts"] == [[2, 0], [2, 0]]
    assert (content["baselines"], content["targets"]) == ({}, [])
    assert (content["regions"], content["subgroups"]) == (["organ", "cyst"], {})
    assert content["tasks"] == [TASK.model_dump(mode="json", exclude={"scale"})]
    assert set(content["dsc_by_answer"]["kind"]) == {"organ", "cyst", "mean_foreground"}
    assert macro["p_chance"] == 1.0  # always the same answer
    assert macro["optimism"] > 0
    json.dumps(content, allow_nan=False)


def test_surfaces_and_lesions_of_a_cohort_have_their_units_and_intervals():
    """F82, B19: what a case has beyond the overlap is summarised alike, with the tolerance."""
    found = {"hd95_mm": [1.0, 2.0, 6.0], "nsd": [0.5, 0.6, 0.7], "lesion_recall": [1.0, None, 0.5]}
    cases = [
        CaseScores(
            case=f"c{i}",
            patient=f"c{i}",
            segmentation={
                region: {name: EMPTY if v[i] is None else Score(value=v[i]) for name, v in scores}
                for region in ("organ", "cyst")
                for scores in [[("dsc", [1.0, 1.0, 1.0]), *found.items()]]
            },
        )
        for i in range(3)
    ]
    content = summarize(cases, LABELS, [], seed=0, selected_from=1, nsd_tolerance_mm=1.5).to_json()
    organ = content["segmentation"]["organ"]
    assert list(organ) == ["dsc", "nsd", "hd95_mm", "lesion_recall"]
    assert {name: figure["unit"] for name, figure in organ.items()}["hd95_mm"] == "mm"
    assert organ["hd95_mm"]["mean"] == pytest.approx(3.0)
    assert organ["hd95_mm"]["ci95"][0] < 3.0 < organ["hd95_mm"]["ci95"][1]
    assert (organ["lesion_recall"]["n"], organ["lesion_recall"]["n_undefined"]) == (2, 1)
    assert content["nsd_tolerance_mm"] == 1.5


def test_baselines_have_the_same_block_and_targets_are_judged():
    """B19, F84."""
    right = {"c1": [1, 0], "c2": [0, 1], "c3": [1, 0], "c4": [0, 1]}
    baseline = Baseline(
        name="oracle",
        description="knows it all",
        task="kind",
        probabilities={case: np.array(p, float) for case, p in right.items()},
    )
    target = Target(name="Cyst", metric="segmentation/cyst/dsc", threshold=0.31)
    content = summary(baselines=[baseline], targets=[target])
    block = content["baselines"]["oracle"]
    assert block["description"] == "knows it all"
    assert block["classification"]["kind"]["macro_f1"]["value"] == 1.0
    assert set(block["classification"]["kind"]) == set(content["classification"]["kind"])
    assert content["targets"][0]["status"] == "FAIL"
    assert content["targets"][0]["gap"] == pytest.approx(-0.01)


def test_region_absent_everywhere_is_null_with_a_reason():
    """F56."""
    cases = [scored("c1", 0.9, None, "a"), scored("c2", 0.8, None, "b")]
    figure = summarize(cases, LABELS, [], seed=0, selected_from=1).to_json()["segmentation"]["cyst"]
    assert (figure["dsc"]["mean"], figure["dsc"]["n"]) == (None, 0)
    assert figure["dsc"]["reason"] == "no case has a value"


def test_labels_only_cohort_has_no_segmentation():
    """B03: not measured is absent, so a target on it is NOT MEASURED."""
    cases = [CaseScores(case=c.case, patient=c.patient, answers=c.answers) for c in COHORT]
    target = Target(name="Cyst", metric="segmentation/cyst/dsc", threshold=0.3)
    content = summarize(cases, LABELS, [TASK], seed=0, selected_from=1, targets=[target]).to_json()
    assert content["segmentation"] == {}
    assert content["targets"][0]["status"] == "NOT MEASURED"


@pytest.mark.parametrize("text", ["{}", '{"schema_version": 99, "n_cases": 1}', "[]", "{"])
def test_other_files_are_refused(tmp_path, text):
    source = tmp_path / "summary.json"
    source.write_text(text)
    with pytest.raises(DataError, match=r"summary\.json"):
        read_summary(source)
