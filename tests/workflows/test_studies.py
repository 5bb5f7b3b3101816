"""B22, F87: studies from the command line, with a real training and with scores made by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segduet.cli.program import program
from segduet.core.files import write_json
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.ablation_file import read_ablation
from segduet.evaluation.cohort import SCHEMA_VERSION
from segduet.evaluation.scores_file import write_scores
from segduet.scale.expansion import expand
from segduet.scale.markers import Ending
from segduet.scale.state import StudyState
from segduet.scale.study import load_study
from segduet.scale.unit import WorkUnit
from tiny_studies import write_study

TASK = TaskSpec(name="kind", classes=("a", "b"))
#: As far as a comparison reads it.
SUMMARY = {
    "schema_version": SCHEMA_VERSION,
    "n_cases": 4,
    "regions": ["lesion"],
    "tasks": [TASK.model_dump(mode="json")],
    "selected_from": 1,
}
SHORT = {"epochs": 1, "steps_per_epoch": 2, "head.hidden": [8], "precision": "fp32"}


def test_a_study_is_run_once_and_listed(
    segduet: Callable[..., Any], nerves: Path, tmp_path: Path
) -> None:
    """A real training in a process of its own, with a manifest; then there is nothing to do."""
    study = write_study(
        tmp_path,
        name="once",
        dataset="nerves",
        data_root=str(nerves),
        set=SHORT,
        train={"device": "cpu", "workers": 0},
    )
    finished = segduet("run", study, "--json")
    assert finished.code == 0, finished.err
    assert finished.json()["counts"]["done"] == 1
    (unit,) = expand(load_study(study))
    assert all(path.is_file() for path in unit.outputs)
    manifest = json.loads((tmp_path / "once" / "manifest.json").read_text())
    assert manifest["command"] == "run"
    before = unit.outputs[0].stat().st_mtime_ns
    again = segduet("run", study, "--only", unit.name, "--json")
    assert (again.code, unit.outputs[0].stat().st_mtime_ns) == (0, before)
    listed = segduet("run", study, "--list")
    assert listed.out == f"{unit.name} done\n"


def test_every_command_of_a_study_is_one_that_segduet_takes(tmp_path: Path) -> None:
    """An option that was renamed would only show hours into a study."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "dataset.json").touch()
    (tmp_path / "weights.pth").touch()
    study = write_study(
        tmp_path,
        predict={"inputs": "images", "shards": 2, "tta": False, "cleanup": "plan.json"},
        evaluate={"reference": "images", "split": "val"},
        train={"pretrained": "weights.pth"},
        arms={"long": {"epochs": 9}},
    )
    group = program()
    for unit in expand(load_study(study)):
        for more in (["--resume"] if unit.resumes_from else [], unit.restart_options):
            words = [*unit.command, *more]
            group.commands[words[0]].make_context(words[0], words[1:])


def scored(case: int, dsc: float) -> CaseScores:
    truth = "ab"[case % 2]
    return CaseScores(
        case=f"c{case}",
        patient=f"p{case}",
        segmentation={"lesion": {"dsc": Score(value=dsc)}},
        volumes_ml={"lesion": (1.0, 1.0)},
        answers={"kind": ClassAnswer(reference=truth, predicted="a", probabilities=(0.8, 0.2))},
    )


def end(state: StudyState, unit: WorkUnit, shift: float, fold: int) -> None:
    """Leaves what a training of this fold leaves: model, record, scores and marker."""
    folder = unit.outputs[0].parent
    (folder / "validation").mkdir(parents=True)
    for output in unit.outputs:
        output.write_text("{}")
    cases = [scored(case, 0.5 + 0.01 * case + shift) for case in range(4 * fold, 4 * fold + 4)]
    write_scores(folder / "validation" / "scores.csv", cases, [TASK])
    write_json(folder / "validation" / "summary.json", SUMMARY)
    state.markers.write_done(unit, Ending(exit_code=0, seconds=1.0))


@pytest.fixture
def ablation_study(tmp_path: Path) -> Path:
    """Two folds and seeds done: `good` is 0.03 better; a training of `bad` failed."""
    path = write_study(
        tmp_path,
        folds=[0, 1],
        seeds=[0, 1],
        arms={"good": {"epochs": 9}, "bad": {"epochs": 8}},
    )
    study = load_study(path)
    state = StudyState.of(study)
    for unit in expand(study):
        fold = int(unit.name[-1])
        if "bad-2d-s1-f1" in unit.name:
            failed = Ending(exit_code=1, seconds=1.0, reason="the loss is not finite")
            state.markers.write_failed(unit, failed)
        else:
            end(state, unit, 0.03 if "good" in unit.name else 0.0, fold)
    return path


def test_the_reason_of_a_failure_is_told_and_its_code_kept(
    segduet: Callable[..., Any], ablation_study: Path
) -> None:
    """1 lets an engine try again; 2, where nothing but bad requests failed, does not."""
    finished = segduet("run", ablation_study)
    assert finished.code == 1
    told = "failed: train-default-bad-2d-s1-f1: the loss is not finite"
    assert told in finished.out.splitlines()
    assert "tiny: 11 done, 1 failed; in " in finished.out
    study = load_study(ablation_study)
    unit = next(unit for unit in expand(study) if "bad-2d-s1-f1" in unit.name)
    failed = Ending(exit_code=2, seconds=1.0, reason="no such fold")
    StudyState.of(study).markers.write_failed(unit, failed)
    assert segduet("run", ablation_study).code == 2
    listed = segduet("run", ablation_study, "--list").out.splitlines()
    assert f"{unit.name}  failed   no such fold" in listed


def test_arms_are_compared_with_the_baseline_and_a_failed_one_is_shown(
    segduet: Callable[..., Any], ablation_study: Path
) -> None:
    """F87: nothing is run again; eight cases of two folds, two seeds each."""
    finished = segduet("ablate", ablation_study, "--json")
    assert finished.code == 1, finished.err
    folder = ablation_study.parent / "tiny" / "ablation"
    ablation = read_ablation(folder / "ablation.json")
    assert finished.json()["ablation"] == ablation.model_dump(mode="json")
    (table,) = ablation.tables
    assert [(arm.name, arm.status) for arm in table.arms] == [
        ("baseline", "done"), ("good", "done"), ("bad", "failed"),
    ]  # fmt: skip
    assert table.arms[2].reason == "train-default-bad-2d-s1-f1: the loss is not finite"
    row = next(r for r in table.comparison.rows if (r.subject, r.metric) == ("lesion", "dsc"))
    assert row.differences[0].difference.value == pytest.approx(0.03)
    assert row.differences[0].difference.n == 16
    assert row.values["baseline"].value == pytest.approx(0.535)
    assert "| bad | epochs = 8 | failed: " in (folder / "ablation.md").read_text()
    assert json.loads((folder / "manifest.json").read_text())["command"] == "ablate"


def test_a_failed_baseline_leaves_nothing_to_compare(
    segduet: Callable[..., Any], ablation_study: Path
) -> None:
    study = load_study(ablation_study)
    state, unit = StudyState.of(study), expand(study)[0]
    unit.outputs[0].unlink()
    state.markers.write_failed(unit, Ending(exit_code=2, seconds=1.0, reason="no such fold"))
    finished = segduet("ablate", ablation_study)
    assert finished.code == 1
    assert "the baseline failed, so there is nothing to compare with" in finished.out


def test_arms_can_be_judged_by_predictions(segduet: Callable[..., Any], tmp_path: Path) -> None:
    """With `evaluate`, an arm is judged by its evaluation, not by its folds' validations."""
    (tmp_path / "images").mkdir()
    path = write_study(
        tmp_path, arms={"good": {"epochs": 9}}, predict={"inputs": "images"}, evaluate={}
    )
    study = load_study(path)
    state = StudyState.of(study)
    for unit in expand(study):
        for output in unit.outputs:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text("{}")
        if unit.name.startswith("evaluate"):
            cases = [scored(case, 0.4 + 0.1 * ("good" in unit.name)) for case in range(4)]
            write_scores(unit.outputs[0], cases, [TASK])
            write_json(unit.outputs[1], SUMMARY)
        state.markers.write_done(unit, Ending(exit_code=0, seconds=1.0))
    finished = segduet("ablate", path, "--json")
    assert finished.code == 0, finished.err
    content = finished.json()["ablation"]
    assert content["judged_by"] == "evaluation"
    row = content["tables"][0]["comparison"]["rows"][0]
    assert row["differences"][0]["difference"]["value"] == pytest.approx(0.1)
