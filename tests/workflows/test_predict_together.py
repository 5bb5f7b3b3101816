"""F77, F78 in `segduet predict`: several models answer together, and a plan mends label maps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.cleanup.apply import clean
from segduet.cleanup.plan import CleanupPlan
from segduet.cleanup.steps import Opening, RemoveSmall
from segduet.cli.predicting import EnsembleMean
from segduet.core.description import DatasetDescription
from segduet.core.files import read_csv, read_json, sha256, write_json
from segduet.inference.ensembles import EnsembleRule
from segduet.io.images import read_label_map

CASES = ("c6", "c7")


@pytest.fixture(scope="module")
def images(road: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for case in CASES:
        shutil.copy(road.raw / "imagesTr" / f"{case}_0000.nii.gz", folder)
    return folder


@pytest.fixture(scope="module")
def other(road: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network on another grid and in other windows, so that it answers otherwise."""
    folder = tmp_path_factory.mktemp("other") / road.model.name
    shutil.copytree(road.model, folder)
    change(folder / "plans.json", spacing=[2.5, 1.3, 1.2], patch_size=[8, 16, 16])
    return folder


def change(plans: Path, **entries: object) -> None:
    content = read_json(plans)
    content["configurations"]["3d_fullres"].update(entries)
    write_json(plans, content)


@pytest.fixture
def predict(
    road: Any, segduet: Callable[..., Any], images: Path, tmp_path: Path
) -> Callable[..., Any]:
    """`predict(name, model, *options)` on both images, into a folder of that name."""

    def run(name: str, model: Path, *options: object) -> Any:
        return segduet(
            *("predict", model, images, "--out", tmp_path / name, "--no-tta"),
            *("--engine", "torch", "--device", "cpu", "--json", *options),
        )

    return run


def chances(folder: Path) -> np.ndarray:
    _, rows = read_csv(folder / "predictions.csv")
    return np.array([[float(r["class:bright"]), float(r["class:dark"])] for r in rows])


def masks(folder: Path) -> np.ndarray:
    return np.stack([read_label_map(folder / f"{case}.nii.gz").array[0] for case in CASES])


def test_the_class_answer_of_two_models_is_their_mean(
    predict: Callable[..., Any], road: Any, other: Path, tmp_path: Path
) -> None:
    for name, model in (("first", road.model), ("second", other)):
        assert predict(name, model).code == 0
    first, second = chances(tmp_path / "first"), chances(tmp_path / "second")
    assert np.abs(first - second).max() > 1e-4
    finished = predict("both", road.model, "--also", other)
    assert finished.code == 0, finished.err
    np.testing.assert_allclose(chances(tmp_path / "both"), (first + second) / 2, rtol=1e-5)
    finished = predict("both-g", road.model, "--also", other, "--ensemble", "geometric")
    assert finished.code == 0, finished.err
    product = np.sqrt(first * second)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chances(tmp_path / "both-g"), expected, rtol=1e-5)
    assert np.abs(expected - (first + second) / 2).max() > 1e-9
    arguments = read_json(tmp_path / "both-g" / "manifest.json")["arguments"]
    assert arguments["ensemble"] == "geometric"
    weights = {"fold_0/model.safetensors": sha256(other / "fold_0" / "model.safetensors")}
    assert arguments["also"] == [{"model": str(other), "folds": ["0"], "weights_sha256": weights}]


def test_a_model_beside_itself_says_what_it_says_alone(
    predict: Callable[..., Any], road: Any, tmp_path: Path
) -> None:
    assert predict("alone", road.model).code == 0
    assert predict("twice", road.model, "--also", road.model).code == 0
    np.testing.assert_array_equal(masks(tmp_path / "twice"), masks(tmp_path / "alone"))
    np.testing.assert_allclose(chances(tmp_path / "twice"), chances(tmp_path / "alone"), rtol=1e-6)
    assert masks(tmp_path / "alone").any()


def test_the_command_offers_the_rules_there_are() -> None:
    assert [str(v) for v in EnsembleMean] == [str(v) for v in EnsembleRule]


def spoiled(other: Path, target: Path, **changes: object) -> Path:
    shutil.copytree(other, target)
    content = read_json(target / "dataset.json") | changes
    write_json(target / "dataset.json", content)
    return target


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"background": 0, "cyst": 1}}, ("other labels", "cyst")),
        ({"channel_names": {"0": "MR"}}, ("other channels", "MR")),
        ({"file_ending": ".nrrd"}, ("other channels", ".nrrd")),
    ],
)
def test_models_of_other_questions_are_refused(
    *,
    changes: dict[str, object],
    words: tuple[str, ...],
    predict: Callable[..., Any],
    road: Any,
    other: Path,
    tmp_path: Path,
) -> None:
    odd = spoiled(other, tmp_path / "odd" / other.name, **changes)
    finished = predict("out", road.model, "--also", odd)
    assert finished.code == 2
    assert finished.err.count("\n") == 1
    for word in (*words, "--also", "models of one dataset"):
        assert word in finished.err, finished.err
    assert not (tmp_path / "out").exists()


def test_a_rule_without_a_second_model_is_refused(predict: Callable[..., Any], road: Any) -> None:
    finished = predict("out", road.model, "--ensemble", "arithmetic")
    assert finished.code == 2
    assert "--also" in finished.err


def test_a_plan_mends_the_label_maps_and_leaves_the_classes(
    predict: Callable[..., Any], road: Any, tmp_path: Path
) -> None:
    assert predict("plain", road.model).code == 0
    before = masks(tmp_path / "plain")
    labels = DatasetDescription.read(road.model / "dataset.json").label_scheme
    (region,) = labels.foreground
    steps = [
        Opening(region=region, radius_mm=2.0, may_empty=True),
        RemoveSmall(regions=(region,), min_ml=0.2, may_empty=True),
    ]
    plan = tmp_path / "cleanup.json"
    CleanupPlan.of(labels, steps).write(plan)
    finished = predict("clean", road.model, "--cleanup", plan)
    assert finished.code == 0, finished.err
    geometry = read_label_map(tmp_path / "plain" / "c6.nii.gz").geometry
    expected = np.stack([clean(m, geometry, labels, steps).label_map for m in before])
    assert (expected != before).any()
    np.testing.assert_array_equal(masks(tmp_path / "clean"), expected)
    np.testing.assert_array_equal(chances(tmp_path / "clean"), chances(tmp_path / "plain"))
    manifest = read_json(tmp_path / "clean" / "manifest.json")
    assert manifest["arguments"]["cleanup"] == str(plan)
    done = manifest["outcome"]["cleanup"]["steps"]
    assert [entry["step"]["kind"] for entry in done] == ["open", "remove_small"]
    assert sum(entry["changed_cases"] for entry in done) > 0
    assert read_json(tmp_path / "plain" / "manifest.json")["outcome"]["cleanup"] is None


def test_a_plan_that_does_not_fit_the_model_is_refused_before_the_first_case(
    predict: Callable[..., Any], road: Any, tmp_path: Path
) -> None:
    plan = tmp_path / "cleanup.json"
    labels = {"background": 0, "kidney": 1}
    plan.write_text(json.dumps({"labels": labels, "steps": []}))
    finished = predict("out", road.model, "--cleanup", plan)
    assert finished.code == 2
    assert "kidney" in finished.err
    assert not (tmp_path / "out").exists()
    step = {"kind": "fill_holes", "region": "liver"}
    plan.write_text(json.dumps({"labels": labels, "steps": [step]}))
    assert "'liver'" in predict("out", road.model, "--cleanup", plan).err
