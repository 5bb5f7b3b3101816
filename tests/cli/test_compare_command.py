"""F83, F86, F95, B19 from the command line: `evaluate --by`, chance, optimism, and `compare`."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.geometry import Geometry
from segduet.core.prediction import Prediction
from segduet.core.tasks import TaskSpec
from segduet.evaluation.comparison_file import read_comparison
from segduet.inference.answers_file import write_answers
from segduet.io.images import write_label_map
from segduet.workflows.comparison import distinct_names

GRID = Geometry(shape_zyx=(1, 8, 8), spacing_zyx_mm=(10.0, 10.0, 10.0))
TASK = TaskSpec(name="kind", classes=("a", "b"))
NUM_CASES = 16


def rows_of(count: int) -> np.ndarray:
    voxels = np.zeros(GRID.shape_zyx, np.uint8)
    voxels[0, :count, 1:5] = 1
    return voxels


def write_predictions(folder: Path, *, is_good: bool, with_answers: bool = True) -> Path:
    """A good run is right everywhere; the other draws a row too few and calls all cases `a`."""
    answers = []
    for i in range(NUM_CASES):
        drawn = rows_of(2 + i % 5 - (not is_good))
        said = i % 2 if is_good else 0
        write_label_map(folder / f"c{i:02d}.nii.gz", drawn, GRID)
        answers.append(
            Prediction(
                case=f"c{i:02d}",
                label_map=drawn,
                geometry=GRID,
                probabilities={"kind": np.array([0.9, 0.1])[:: 1 - 2 * said]},
                evidence={"kind": 1.0},
            )
        )
    if with_answers:
        write_answers(folder / "predictions.csv", answers, [TASK])
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen patients of two sites and five sizes; a column `sex` that a user added."""
    folder = tmp_path_factory.mktemp("reference")
    records = [
        CaseRecord(
            case=f"c{i:02d}",
            patient=f"p{i:02d}",
            site="north" if i < 9 else "south",
            labels={"kind": "ab"[i % 2]},
        )
        for i in range(NUM_CASES)
    ]
    for i in range(NUM_CASES):
        write_label_map(folder / "labelsTr" / f"c{i:02d}.nii.gz", rows_of(2 + i % 5), GRID)
    table = folder / "cases.csv"
    CaseTable(records=tuple(records)).write(table, [TASK])
    lines = table.read_text().splitlines()
    sexes = ["sex", *("f" if i % 3 else "" for i in range(NUM_CASES))]
    table.write_text("".join(f"{a},{b}\n" for a, b in zip(lines, sexes, strict=True)))
    DatasetDescription(
        channel_names={"0": "CT"},
        labels={"background": 0, "organ": 1},
        numTraining=NUM_CASES,
        file_ending=".nii.gz",
        segduet=SegduetSection(tasks=(TASK,)),
    ).write(folder / "dataset.json")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Three evaluations of the same cases, and the command that made them.

    Attributes:
        good: right everywhere.
        poor: a row too few everywhere, and the second class missed.
        masks: the masks of `poor` without answers.
        predictions: those of `good`.
    """

    good: Path
    poor: Path
    masks: Path
    predictions: Path


@pytest.fixture(scope="module")
def runs(reference: Path, segduet: Callable, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "good": write_predictions(folder / "predicted" / "good", is_good=True),
        "poor": write_predictions(folder / "predicted" / "poor", is_good=False),
        "masks": write_predictions(
            folder / "predicted" / "masks", is_good=False, with_answers=False
        ),
    }
    for name, predictions in made.items():
        finished = segduet(*evaluation(reference, predictions, folder / name), "--json")
        assert finished.code == 0, finished.err
    places = {name: folder / name for name in made}
    return Evaluated(**places, predictions=made["good"])


def evaluation(reference: Path, predictions: Path, out: Path) -> tuple[object, ...]:
    """The command that scores predictions."""
    return (
        *("evaluate", "--reference", reference, "--predictions", predictions, "--out", out),
        *("--workers", 1, "--data-root", reference / "nowhere"),
    )


# evaluate ----------------------------------------------------------------------------------------


def test_evaluating_states_chance_optimism_and_what_was_judged(
    runs: Evaluated, reference: Path, segduet: Callable, tmp_path: Path
) -> None:
    """F83, B19: only where it applies: optimism needs candidates, chance answers."""
    summary = json.loads((runs.good / "summary.json").read_text())
    macro = summary["classification"]["kind"]["macro_f1"]
    assert macro["p_chance"] < 0.001
    assert summary["regions"] == ["organ"]
    assert [task["name"] for task in summary["tasks"]] == ["kind"]
    assert "optimism" not in json.dumps(summary["segmentation"])
    chosen = segduet(
        *evaluation(reference, runs.predictions.parent / "poor", tmp_path / "out"),
        *("--selected-from", 10),
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    dsc = summary["segmentation"]["organ"]["dsc"]
    # E[max of 10] is 1.5388 standard errors, each a 3.92th of the interval
    assert dsc["optimism"] == pytest.approx(1.5388 * (dsc["ci95"][1] - dsc["ci95"][0]) / 3.92, 1e-3)
    assert set(summary["definitions"]) == {"p_chance", "optimism", "subgroups"}
    assert "best of 10: up to 0." in chosen.out
    assert "against chance p" in chosen.out


def test_evaluating_by_site_class_size_and_a_users_own_column(
    runs: Evaluated, reference: Path, segduet: Callable, tmp_path: Path
) -> None:
    """B19: every division has its groups, n and gap; empty cells are unknown."""
    finished = segduet(
        *evaluation(reference, runs.predictions.parent / "poor", tmp_path / "out"),
        *("--by", "site", "--by", "class", "--by", "volume", "--by", "sex"),
    )
    assert finished.code == 0, finished.err
    divisions = json.loads((tmp_path / "out" / "summary.json").read_text())["subgroups"]
    assert set(divisions) == {"site", "kind", "volume:organ", "sex"}
    assert {g: b["n_cases"] for g, b in divisions["site"]["groups"].items()} == {
        "north": 9,
        "south": 7,
    }
    assert divisions["sex"]["n_unknown"] == 6
    gap = divisions["volume:organ"]["gaps"]["segmentation/organ/dsc"]
    # a row too few of 2 rows is DSC 2/3, of 6 rows 10/11
    assert gap["lowest"].startswith("1 small (up to")
    large = "3 large (above 20 ml)"
    assert large in divisions["volume:organ"]["groups"]
    assert gap["p"] < 0.01
    accuracy = divisions["kind"]["groups"]["b"]["figures"]["classification/kind/accuracy"]
    assert accuracy["value"] == 0.0
    assert divisions["kind"]["gaps"]["classification/kind/accuracy"]["value"] == 1.0
    assert "by site" in finished.out
    assert "north" in finished.out


@pytest.fixture
def divided(runs: Evaluated, reference: Path, segduet: Callable, tmp_path: Path) -> Callable:
    """Evaluates the good run by something."""
    command = evaluation(reference, runs.predictions, tmp_path / "out")
    return lambda by: segduet(*command, "--by", by)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("hospital", ["--by hospital", "'site'", "'sex'", "volume:organ"]),
        ("volume:liver", ["--by volume:liver", "volume:organ"]),
        ("case", ["--by case"]),
        ("split", ["--by split", "no value for any of the scored cases"]),
    ],
)
def test_dividing_by_something_unknown(
    divided: Callable, refused: Callable, tmp_path: Path, by: str, words: list[str]
) -> None:
    refused(divided(by), *words)
    assert not (tmp_path / "out").exists()


# compare -----------------------------------------------------------------------------------------


def test_comparing_says_which_run_is_better_in_numbers_and_in_a_table(
    runs: Evaluated, segduet: Callable, tmp_path: Path
) -> None:
    """F83, F86: the file, standard output and the manifest hold the same comparison."""
    finished = segduet("compare", runs.good, runs.poor, "--out", tmp_path / "out", "--json")
    assert finished.code == 0, finished.err
    comparison = read_comparison(tmp_path / "out" / "comparison.json")
    assert comparison.model_dump(mode="json") == finished.json()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["command"], manifest["outcome"]) == ("compare", finished.json())
    verdicts = {(row.subject, row.metric): row.differences[0].verdict for row in comparison.rows}
    assert verdicts["organ", "dsc"] == "worse"
    assert verdicts["organ", "hd95_mm"] == "worse"
    assert verdicts["kind", "macro_f1"] == "worse"
    told = segduet("compare", runs.good, runs.poor, "--out", tmp_path / "again")
    assert "poor against good" in told.out
    assert "poor: DSC organ where kind is right" in told.out
    assert "worse" in told.out


def test_comparing_a_joint_model_with_one_that_only_segments(
    runs: Evaluated, segduet: Callable, tmp_path: Path
) -> None:
    """F95: its classes are not measured, which is no error."""
    finished = segduet("compare", runs.good, runs.masks, "--out", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert "not measured" in finished.out
    rows = read_comparison(tmp_path / "out" / "comparison.json").rows
    verdicts = {row.metric: row.differences[0].verdict for row in rows}
    assert (verdicts["dsc"], verdicts["macro_f1"]) == ("worse", "not measured")


def test_comparing_one_run_or_the_same_one_twice(
    runs: Evaluated, segduet: Callable, refused: Callable, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    refused(segduet("compare", runs.good, *out), "1 run", "two or more")
    refused(segduet("compare", runs.good, runs.poor, runs.good, *out), "more than once")
    assert not (tmp_path / "out").exists()


def test_comparing_what_is_no_evaluation(
    runs: Evaluated, segduet: Callable, refused: Callable, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    refused(segduet("compare", runs.good, runs.predictions, *out), "no summary.json", "evaluate")
    old = Path(shutil.copytree(runs.poor, tmp_path / "old"))
    content = json.loads((old / "summary.json").read_text())
    del content["tasks"]
    (old / "summary.json").write_text(json.dumps(content))
    refused(segduet("compare", runs.good, old, *out), "old/summary.json", "without tasks")
    assert not (tmp_path / "out").exists()


def test_comparing_damaged_or_other_cases(
    runs: Evaluated, segduet: Callable, refused: Callable, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    fewer = Path(shutil.copytree(runs.poor, tmp_path / "fewer"))
    scores = fewer / "scores.csv"
    lines = scores.read_text().splitlines()
    scores.write_text("\n".join(lines[:-1]) + "\n")
    refused(segduet("compare", runs.good, fewer, *out), "1 cases missing", "'c15'")
    scores.write_text("\n".join([*lines[:-1], lines[-1].replace("p15", "p3")]) + "\n")
    refused(segduet("compare", runs.good, fewer, *out), "case 'c15'", "patient p3")
    scores.write_text("\n".join([*lines[:-1], lines[-1][:40]]) + "\n")
    refused(segduet("compare", runs.good, fewer, *out), "scores.csv")
    assert not (tmp_path / "out").exists()


def test_runs_are_named_by_what_tells_their_paths_apart() -> None:
    assert distinct_names([Path("/x/joint"), Path("/x/alone")]) == ["joint", "alone"]
    folders = [Path("/x/demo-0/evaluation"), Path("/x/demo-1/evaluation")]
    assert distinct_names(folders) == ["demo-0/evaluation", "demo-1/evaluation"]
