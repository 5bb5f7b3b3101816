"""B22, F87: a study becomes the same units everywhere, each with what it reads and writes."""

from pathlib import Path

import pytest

from segduet.core.errors import DataError, RequestError, SegduetError
from segduet.inference.progress import Progress
from segduet.scale import places
from segduet.scale.expansion import expand
from segduet.scale.local_runner import check_inputs
from segduet.scale.study import load_study
from segduet.scale.unit import WorkUnit
from segduet.scale.variants import change_text, variants
from segduet.training.loop import CHECKPOINT
from segduet.training.recipe_files import load_recipe
from segduet.workflows.evaluation import SCORES_FILE, SUMMARY_FILE
from segduet.workflows.models import MODEL_FILE
from segduet.workflows.prediction_files import ANSWERS_FILE
from tiny_studies import DATASET, PLANS, write_planned_dataset, write_study

PREDICT = {"predict": {"inputs": "images"}, "evaluate": {"split": "test"}}


def units_of(folder: Path, **settings: object) -> dict[str, WorkUnit]:
    return {unit.name: unit for unit in expand(load_study(write_study(folder, **settings)))}


def option(unit: WorkUnit, name: str) -> str:
    return unit.command[unit.command.index(name) + 1]


def test_every_combination_is_one_training(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nepochs: 3\n")
    units = units_of(
        tmp_path,
        recipes=["default", "mine.yaml"],
        configurations=["2d", "3d_fullres"],
        folds=[0, 1, "all"],
        seeds=[0, 7],
        arms={"fast": {"epochs": 2}},
    )
    assert len(units) == 2 * 2 * 3 * 2 * 2
    assert "train-mine-fast-3d-fullres-s7-fall" in units
    assert option(units["train-mine-2d-s0-f1"], "--recipe") == str(tmp_path / "mine.yaml")
    assert tmp_path / "mine.yaml" in units["train-mine-2d-s0-f1"].inputs


def test_the_same_file_gives_the_same_units_in_the_same_order(tmp_path: Path) -> None:
    settings = {"seeds": [2, 1], "arms": {"b": {"epochs": 1}, "a": {"epochs": 2}}, **PREDICT}
    assert list(units_of(tmp_path, **settings).items()) == list(
        units_of(tmp_path, **settings).items()
    )


def test_a_training_says_what_it_reads_writes_and_resumes_from(tmp_path: Path) -> None:
    unit = units_of(tmp_path)["train-default-2d-s0-f0"]
    run = (
        tmp_path / "segduet-data" / "nnUNet_results" / DATASET
        / f"tiny-default-s0__{PLANS}__2d" / "fold_0"
    )  # fmt: skip
    assert unit.outputs == (run / "model.safetensors", run / "manifest.json")
    assert unit.resumes_from == run / "checkpoint_latest.safetensors"
    preprocessed = tmp_path / "segduet-data" / "nnUNet_preprocessed" / DATASET
    assert preprocessed / "test" in unit.inputs  # data_identifier of the plan
    assert preprocessed / "splits_final.json" in unit.inputs
    assert option(unit, "--name") == "tiny-default-s0"


def test_an_arm_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    units = units_of(
        tmp_path, set={"epochs": 5, "head.hidden": [8]}, arms={"long": {"epochs": 9}}, seeds=[3]
    )
    changes = [
        [b for a, b in zip(unit.command, unit.command[1:], strict=False) if a == "--set"]
        for unit in units.values()
    ]
    assert changes == [
        ["epochs=5", "head.hidden=[8]", "seed=3"],
        ["epochs=9", "head.hidden=[8]", "seed=3"],
    ]


def test_adding_arms_leaves_the_names_of_the_baseline(tmp_path: Path) -> None:
    """What is done stays done when a study grows."""
    assert set(units_of(tmp_path)) < set(units_of(tmp_path, arms={"a": {"epochs": 2}}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("precision", "fp32"), ("name", "off"), ("name", "true"), ("name", "12"), ("name", "a: b"),
        ("epochs", 4), ("optimizer.learning_rate", 1e-5), ("head.hidden", [8, 4]),
        ("averaging", {"kind": "ema", "decay": 0.5}),
    ],
)  # fmt: skip
def test_a_change_is_read_back_as_it_was_written(key: str, value: object) -> None:
    recipe = load_recipe("default", [change_text(key, value)])
    found = recipe.model_dump(mode="json")
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_predictions_need_every_fold_and_evaluations_the_prediction(tmp_path: Path) -> None:
    units = units_of(tmp_path, folds=[0, 2], resources={"predict": {"cpus": 2.5}}, **PREDICT)
    predict, evaluate = units["predict-default-2d-s0"], units["evaluate-default-2d-s0"]
    assert predict.needs == ("train-default-2d-s0-f0", "train-default-2d-s0-f2")
    assert option(predict, "--folds") == "0,2"
    assert option(predict, "--threads") == "2"
    assert tmp_path / "images" in predict.inputs
    assert evaluate.needs == (predict.name,)
    assert option(evaluate, "--predictions") == option(predict, "--out")
    assert (option(evaluate, "--split"), option(evaluate, "--reference")) == ("test", DATASET)


def test_shards_share_a_folder_but_no_file_and_are_put_together(tmp_path: Path) -> None:
    units = units_of(tmp_path, predict={"inputs": "cases.txt", "shards": 2, "tta": False})
    first, second, whole = (units[f"predict-default-2d-s0{end}"] for end in ("-p1", "-p2", ""))
    assert [option(unit, "--shard") for unit in (first, second)] == ["1/2", "2/2"]
    assert first.outputs[0].parent == second.outputs[0].parent == whole.outputs[0].parent
    assert first.resumes_from == first.outputs[0]
    assert whole.needs == (first.name, second.name)
    assert "--shard" not in whole.command
    assert whole.command[-1] == "--resume"
    assert "--no-tta" in first.command


def test_files_are_called_as_the_commands_call_them() -> None:
    """The names of other packages, which a unit must know without importing what it runs."""
    assert places.MODEL_FILE == MODEL_FILE
    assert places.CHECKPOINT == CHECKPOINT
    assert (places.SCORES, places.SUMMARY) == (SCORES_FILE, SUMMARY_FILE)
    assert places.ANSWERS == ANSWERS_FILE


def test_a_shards_progress_is_where_predict_keeps_it(tmp_path: Path) -> None:
    from segduet.inference.shards import Shard

    units = units_of(tmp_path, predict={"inputs": "images", "shards": 3})
    progress = units["predict-default-2d-s0-p2"].outputs[0]
    with Progress(progress.parent, {}, shard=Shard(2, 3), resume=False):
        assert progress.is_file()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dataset": "absent"}, ("dataset 'absent'", "0 matching")),
        ({"folds": [0, 3]}, ("folds", "fold 3", "numbers from 0 to 2")),
        ({"configurations": ["4d"]}, ("no usable configuration '4d'",)),
        ({"recipes": ["no-such"]}, ("recipes and set", "no-such", "neither a named recipe")),
        ({"arms": {"odd": {"head.hiden": [8]}}}, ("arms.odd", "head.hiden", "head.hidden")),
        ({"arms": {"odd": {"epochs": -1}}}, ("arms.odd", "epochs")),
        ({"plans": "nnUNetPlans"}, ("nnUNetPlans.json", "no such file")),
        ({**PREDICT, "evaluate": {"reference": "refs_typo"}}, ("evaluate.reference", "refs_typo")),
        ({"set": {"epochs": 5}, "arms": {"five": {"epochs": 5}}}, ("'five'", "arm 'baseline'")),
        ({"arms": {"a": {"head.kind": "gem"}, "b": {"head.kind": "gem"}}}, ("'b'", "arm 'a'")),
        ({"arms": {"same": {"head.kind": load_recipe("default").head.kind}}}, ("'same'",)),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_runs(
    tmp_path: Path, settings: dict, words: tuple[str, ...]
) -> None:
    with pytest.raises(SegduetError) as error:
        units_of(tmp_path, **settings)
    assert isinstance(error.value, RequestError | DataError)
    assert [word for word in words if word not in str(error.value)] == []


def test_a_cleanup_plan_that_is_not_there_is_told_before_anything_runs(tmp_path: Path) -> None:
    units = units_of(tmp_path, predict={"inputs": "segduet-data", "cleanup": "plan.json"})
    predict = units["predict-default-2d-s0"]
    with pytest.raises(RequestError, match=r"unit 'predict-default-2d-s0': found no .*plan\.json"):
        check_inputs([predict], list(units.values()))
    (tmp_path / "plan.json").touch()
    check_inputs([predict], list(units.values()))


def test_references_are_a_folder_or_a_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "refs"
    folder.mkdir()
    (folder / "dataset.json").touch()
    predict = PREDICT["predict"]
    raw = tmp_path / "segduet-data" / "nnUNet_raw" / DATASET
    expected = {"refs": (str(folder), folder), "tiny": (DATASET, raw), 501: (DATASET, raw)}
    for reference, (word, tables) in expected.items():
        units = units_of(tmp_path, predict=predict, evaluate={"reference": reference})
        unit = units["evaluate-default-2d-s0"]
        assert option(unit, "--reference") == word
        assert {tables / "dataset.json", tables / "cases.csv"} <= {*unit.inputs}


def test_a_dataset_is_named_by_its_number(tmp_path: Path) -> None:
    assert option(units_of(tmp_path, dataset=501)["train-default-2d-s0-f0"], "train") == DATASET


def test_two_recipes_of_one_name_are_refused(tmp_path: Path) -> None:
    for epochs, folder in enumerate(("a", "b"), start=1):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(f"name: mine\nepochs: {epochs}\n")
    with pytest.raises(RequestError, match="two units called 'train-mine-2d-s0-f0'"):
        units_of(tmp_path, recipes=["a/mine.yaml", "b/mine.yaml"])


def test_a_dataset_that_is_not_planned_is_refused(tmp_path: Path) -> None:
    root = write_planned_dataset(tmp_path / "segduet-data")
    (root / "nnUNet_preprocessed" / DATASET / f"{PLANS}.json").unlink()
    with pytest.raises(RequestError, match="segduet plan"):
        units_of(tmp_path)


def test_models_are_named_once(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, seeds=[0, 1], arms={"a": {"epochs": 2}}))
    assert [v.name for v in variants(study)] == [
        "default-2d-s0", "default-2d-s1", "default-a-2d-s0", "default-a-2d-s1",
    ]  # fmt: skip
