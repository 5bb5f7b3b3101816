"""B02: predictions.csv with every kind of answer, evaluated beside a dataset and reported."""

import json

import numpy as np
import pytest

from segduet.cli.summary_text import summary_lines
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.core.geometry import Geometry
from segduet.core.manifest import RunManifest
from segduet.core.prediction import Prediction
from segduet.core.tasks import TaskSpec
from segduet.inference.answers_file import write_answers
from segduet.io.images import write_label_map
from segduet.workflows.evaluation import EvaluateRequest, evaluate
from segduet.workflows.reporting import report

GRID = Geometry(shape_zyx=(2, 6, 6), spacing_zyx_mm=(10.0, 10.0, 10.0))
TASKS = (
    TaskSpec(name="shape", classes=("oval", "round")),
    TaskSpec(name="cancer", kind="binary", classes=("no", "yes")),
    TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass")),
    TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high")),
    TaskSpec(name="size", kind="regression", unit="mm"),
)


def label_map(i: int) -> np.ndarray:
    voxels = np.zeros(GRID.shape_zyx, np.uint8)
    voxels[0, : 1 + i % 6, 1:5] = 1
    return voxels


def truth(i: int) -> dict[str, str]:
    return {
        "shape": ("oval", "round")[i % 2],
        "cancer": ("no", "yes")[i % 2],
        "findings": ("none", "cyst", "mass", "mass|cyst")[i % 4],
        "grade": ("low", "mid", "high")[i % 3],
        "size": str(4.0 * (1 + i % 6)),
    }


def right_answers(i: int) -> dict[str, np.ndarray]:
    sure = np.array([0.9, 0.1])
    held = np.array([i % 4 in (1, 3), i % 4 in (2, 3)])
    return {
        "shape": sure[:: 1 - 2 * (i % 2)],
        "cancer": sure[:: 1 - 2 * (i % 2)],
        "findings": np.where(held, 0.8, 0.3),
        "grade": np.eye(3)[i % 3] * 0.7 + 0.1,
        "size": np.array([4.0 * (1 + i % 6) + 0.5]),
    }


@pytest.fixture
def folders(tmp_path):
    """A reference of 12 training and 12 validation cases, and predictions of the latter."""
    reference, predictions = tmp_path / "reference", tmp_path / "predictions"
    records, answers = [], []
    for i in range(24):
        case, split = f"c{i:02d}", "train" if i < 12 else "val"
        records.append(CaseRecord(case=case, patient=case, split=split, labels=truth(i)))
        write_label_map(reference / "labelsTr" / f"{case}.nii.gz", label_map(i), GRID)
        if split == "val":
            write_label_map(predictions / f"{case}.nii.gz", label_map(i), GRID)
            answers.append(
                Prediction(
                    case=case,
                    label_map=label_map(i),
                    geometry=GRID,
                    probabilities=right_answers(i),
                    evidence=dict.fromkeys(truth(i), 1.0),
                )
            )
    CaseTable(records=tuple(records)).write(reference / "cases.csv", TASKS)
    DatasetDescription(
        channel_names={"0": "CT"},
        labels={"background": 0, "organ": 1},
        numTraining=24,
        file_ending=".nii.gz",
        segduet=SegduetSection(tasks=TASKS),
    ).write(reference / "dataset.json")
    write_answers(predictions / "predictions.csv", answers, TASKS)
    return reference, predictions


def test_every_kind_is_evaluated_and_reported(folders, tmp_path):
    """Right answers but for a size that is half a millimetre too large everywhere.

    The scores lie beside the answers, whose manifest stays what it was.
    """
    reference, predictions = folders
    out, root = predictions, DataRoot.resolve(tmp_path / "data", {})
    RunManifest(command="predict", arguments={"model": "the very model"}).write(predictions)
    request = EvaluateRequest(
        reference=str(reference), predictions=predictions, out=out, split="val"
    )
    summary = evaluate(root, request).outcome
    figures = summary["classification"]
    for task in ("shape", "cancer", "findings", "grade"):
        assert figures[task]["macro_f1"]["value"] == 1.0
    assert figures["cancer"]["sensitivity"]["value"] == 1.0
    assert figures["findings"]["auroc_by_class"]["mass"]["value"] == 1.0
    assert figures["grade"]["quadratic_kappa"]["value"] == 1.0
    assert figures["size"]["mae"]["value"] == pytest.approx(0.5)
    assert figures["size"]["spearman"]["value"] == pytest.approx(1.0)
    assert json.loads((out / "summary.json").read_text()) == summary
    baselines = summary["baselines"]
    assert set(baselines["mask_volume"]["classification"]) == {task.name for task in TASKS}
    assert set(baselines["majority_class"]["classification"]) == {"shape", "cancer"}
    by_volume = baselines["mask_volume"]["classification"]["size"]["mae"]["value"]
    assert by_volume < baselines["median_value"]["classification"]["size"]["mae"]["value"]
    lines = summary_lines(summary)
    assert any(line.startswith("  Mean absolute error size: 0.500 mm (") for line in lines)
    page = tmp_path / "report.html"
    report(root, [out], page)
    shown = page.read_text()
    assert "→ 4.5 mm (+0.5)" in shown
    assert shown.count("the very model") == 1


def test_surfaces_lesions_and_their_tolerance_reach_summary_scores_and_report(folders, tmp_path):
    """F82, B19: one case a row of 10 mm too short, so that half of its outline lies within 5 mm."""
    reference, predictions = folders
    short = label_map(16)
    short[0, 4, :] = 0
    write_label_map(predictions / "c16.nii.gz", short, GRID)
    root, out = DataRoot.resolve(tmp_path / "data", {}), tmp_path / "out"
    request = EvaluateRequest(
        reference=str(reference), predictions=predictions, out=out, split="val", nsd_tolerance_mm=5
    )
    summary = evaluate(root, request).outcome
    organ = summary["segmentation"]["organ"]
    assert organ["hd95_mm"]["unit"] == "mm"
    assert organ["hd95_mm"]["mean"] == pytest.approx(10 / 12)  # one case of 12
    assert organ["hd95_mm"]["ci95"][0] < 10 / 12 < organ["hd95_mm"]["ci95"][1]
    # in one slice all 20 and 16 voxels are surface, of which the last row's four lie too far
    assert organ["nsd"]["mean"] == pytest.approx((11 + 32 / 36) / 12)
    assert (organ["lesion_f1"]["mean"], organ["lesion_f1"]["n"]) == (1.0, 12)
    assert summary["nsd_tolerance_mm"] == 5
    ratio = summary["classification"]["cancer"]["positive_likelihood_ratio"]
    assert (ratio["value"], ratio["n"]) == (None, 12)
    assert "no negative case was called positive" in ratio["reason"]
    assert summary["classification"]["shape"]["mcc"]["value"] == 1.0
    assert "organ/hd95_mm" in (out / "scores.csv").read_text().splitlines()[0]
    page = tmp_path / "report.html"
    report(root, [out], page)
    shown = page.read_text()
    for label in (
        *("NSD (tolerance 5 mm)", "HD95 (mm)", "ASSD (mm)", "Lesion F1", "MCC"),
        *("Average precision", "Positive likelihood ratio", "ECE (kernel)", "Balanced accuracy"),
    ):
        assert f">{label}</" in shown, label


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_distance_is_refused_before_anything_is_read(tmp_path, tolerance):
    request = EvaluateRequest(
        reference="nowhere", predictions=tmp_path, out=tmp_path, nsd_tolerance_mm=tolerance
    )
    with pytest.raises(RequestError, match="--nsd-tolerance-mm: found"):
        evaluate(DataRoot.resolve(tmp_path, {}), request)
