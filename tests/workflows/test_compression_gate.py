"""B14, F68: 8-bit networks are exported behind a gate on cases that calibration has not seen."""

import json
import shutil
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import openvino
import pytest
from openvino import opset13

from segduet.compression import quantisation
from segduet.compression.calibration import CalibrationSettings
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.core.prediction import Prediction
from segduet.evaluation.gate_report import FloatParts, GateBounds, GateReport
from segduet.inference.bundles.opening import open_bundle_folder
from segduet.inference.engines.openvino_engine import supports_bf16
from segduet.io.images import read_label_map
from segduet.workflows.calibration_cases import find_calibration_cases
from segduet.workflows.compression_gate import gate_lines, require_passed, run_gate
from segduet.workflows.models import Model, open_model
from segduet.workflows.python_interface import load


@dataclass(frozen=True)
class _Learned:
    """A copy of the road whose model has learned the blobs, and its 8-bit export."""

    road: object
    model: object
    out: object
    manifest: dict


@pytest.fixture(scope="module")
def model(road):
    folder = open_model(road.model)
    return Model(
        source=folder.folder,
        plan=folder.plan,
        configuration_name=folder.configuration_name,
        description=folder.description,
        folds=("0",),
        tasks=folder.description.tasks,
        mirror_axes=(0, 1, 2),
        segments=True,
    )


@pytest.fixture
def root(road):
    return DataRoot.resolve(road.data, {})


def _cases(model, source, root, **settings):
    return find_calibration_cases(
        model, str(source), root, folds=["0"], settings=CalibrationSettings(**settings)
    )


@pytest.mark.parametrize("by_name", [True, False])
def test_training_cases_calibrate_and_validation_cases_are_held(model, road, root, by_name):
    cases = _cases(model, "tiny" if by_name else road.raw, root)

    assert sorted(cases.choice.calibration) == [f"c{i}" for i in range(6)]
    assert cases.choice.held == ("c6", "c7")
    held = list(cases.held())
    assert [case.mask.name for case in held] == ["c6.nii.gz", "c7.nii.gz"]
    assert held[0].record.labels == {"class": "dark"}


def test_images_alone_are_divided(model, road, root):
    cases = _cases(model, road.raw / "imagesTr", root)

    assert len(cases.choice.calibration) == len(cases.choice.held) == 4
    assert not set(cases.choice.calibration) & set(cases.choice.held)
    assert [case.mask for case in cases.held()] == [None] * 4
    assert all(not case.locations for case in cases.to_calibrate() if case.locations.get("blob"))


def test_prepared_cases_and_their_images_give_the_same(model, road, root, tmp_path):
    """Once from the preprocessed folder, once from a copy that has only raw images."""
    shutil.copytree(road.raw, tmp_path / "nnUNet_raw" / road.raw.name)
    bare = DataRoot.resolve(tmp_path, {})

    stored = list(_cases(model, "tiny", root).to_calibrate())
    fresh = list(_cases(model, tmp_path / "nnUNet_raw" / road.raw.name, bare).to_calibrate())

    by_case = {case.case: case for case in fresh}
    assert len(stored) == 6
    for case in stored:
        np.testing.assert_array_equal(case.image[:], by_case[case.case].image)
        assert case.locations.keys() == by_case[case.case].locations.keys()
        for name, voxels in case.locations.items():
            assert len(voxels)
            np.testing.assert_array_equal(voxels, by_case[case.case].locations[name])


def test_a_dataset_with_other_labels_is_refused(model, road, root, tmp_path):
    other = shutil.copytree(road.raw, tmp_path / road.raw.name)
    description = json.loads((other / "dataset.json").read_text())
    description["labels"] = {"background": 0, "cyst": 1}
    (other / "dataset.json").write_text(json.dumps(description))

    with pytest.raises(DataError, match="expected those of the model"):
        _cases(model, other, root)


def _answering(held, labels, *, mask=lambda array: array, kind=lambda truth: truth):
    """A model that answers the truth, changed."""
    by_case = {case.record.case: case for case in held}

    def predict(volume, case):
        record = by_case[case].record
        drawn = read_label_map(by_case[case].mask)
        said = kind(record.labels["class"])
        chances = np.array([0.9, 0.1] if said == "bright" else [0.1, 0.9])
        return Prediction(
            case=case,
            label_map=mask(drawn.array[0]),
            geometry=drawn.geometry,
            probabilities={"class": chances},
        )

    return predict


@pytest.fixture
def gate(model, root):
    cases = _cases(model, "tiny", root)
    held = list(cases.held())

    def run(bounds=None, **changes):
        return run_gate(
            _answering(held, model.labels),
            _answering(held, model.labels, **changes),
            held,
            model=SimpleNamespace(labels=model.labels, tasks=model.tasks),
            bounds=bounds or GateBounds(),
            say=lambda _: None,
        )

    return run


def test_the_same_answers_pass(gate, model):
    assert model.tasks[0].classes == ("bright", "dark")

    report = gate()

    require_passed(report)
    assert (report.n, report.num_with_masks) == (2, 2)
    assert report.regions[0].reference_dsc == report.regions[0].dice.value == 1
    assert next(gate_lines(report)) == "gate: passed on 2 held cases (2 with drawn masks)"


def test_only_a_measured_dice_is_told(gate):
    """A network without masks has none to choose by."""
    chosen = [FloatParts(ends_in_float=1, dice=dice) for dice in ({}, {"a": None}, {"a": 0.9})]
    told = ["\n".join(gate_lines(gate().model_copy(update={"float_parts": c}))) for c in chosen]
    assert ["on calibration cases" in lines for lines in told] == [False, False, True]


def test_masks_that_lose_a_slice_are_refused_with_the_whole_report(gate):
    """A slice of 49 voxels less in one of four: DSC 2 * 147 / (147 + 196)."""

    def without_a_slice(array):
        cut = array.copy()
        cut[np.flatnonzero(array.any(axis=(1, 2)))[0]] = 0
        return cut

    report = gate(mask=without_a_slice)

    assert report.regions[0].candidate_dsc == pytest.approx(2 * 147 / 343)
    with pytest.raises(RequestError, match=r"mean DSC falls from 1\.0000 to 0\.8571") as refused:
        require_passed(report)
    assert "gate: REFUSED on 2 held cases" in str(refused.value)


def test_a_flip_is_refused_and_named(gate):
    report = gate(kind=lambda truth: "dark")

    assert [(f.case, f.reference, f.candidate) for f in report.flips] == [("c7", "bright", "dark")]
    with pytest.raises(RequestError, match=r"flip: c7, class bright -> dark \(bright\)"):
        require_passed(report)


_IN_8_BITS = f"openvino cpu int8, rest {'bf16' if supports_bf16() else 'fp32'}"
_BOUNDS = ("--min-dice", 0.95, "--max-dsc-loss", 0.05, "--max-f1-loss", 0.02)


@pytest.fixture(scope="module")
def learned(road, segduet, tmp_path_factory):
    mine = road.copy(tmp_path_factory.mktemp("int8") / "road")
    shutil.rmtree(mine.model)
    trained = segduet(
        *("train", "tiny", "--data-root", mine.data, "--set", "steps_per_epoch=60"),
        *("--set", "head.hidden=[8]", "--epochs", "2"),
        *("--set", "validation.patches_per_epoch=2"),
        *("--device", "cpu", "--precision", "fp32", "--workers", "0"),
    )
    assert trained.code == 0, trained.err
    out = mine.folder / "int8"
    finished = segduet(
        *("export", mine.model, "--to", "openvino", "--out", out, "--precision", "int8"),
        *("--calibration", "tiny", "--data-root", mine.data, *_BOUNDS, "--json"),
        *("--gate-report", mine.folder / "gate.json"),
    )
    assert finished.code == 0, finished.err
    return _Learned(road=mine, model=mine.model, out=out, manifest=finished.json())


def test_the_report_travels_with_the_export(learned):
    bundle = open_bundle_folder(learned.out, verify=True)

    report = GateReport.model_validate(bundle.manifest.gate)
    assert report.passed
    assert report.n == 2
    assert report.regions[0].reference_dsc > 0.8  # it has learned something
    assert report.regions[0].dice.value >= 0.95
    assert [parts.ends_in_float for parts in report.tried] == [1]  # which agreed well enough
    assert report.float_parts == report.tried[0]
    assert report.bounds.min_dice == 0.95
    written = json.loads((learned.road.folder / "gate.json").read_text())
    assert learned.manifest["gate"] == written == bundle.manifest.gate
    assert {m.network.stored_precision for m in bundle.members} == {"int8"}


def test_it_is_smaller_and_answers(learned, segduet, tmp_path):
    exact = segduet("export", learned.model, "--to", "openvino", "--out", tmp_path / "fp32")
    assert exact.code == 0, exact.err
    sizes = [
        sum(p.stat().st_size for p in folder.rglob("windows.bin"))
        for folder in (learned.out, tmp_path / "fp32")
    ]
    finished = segduet(
        *("predict", learned.out, learned.road.raw / "imagesTr", "--out", tmp_path / "masks"),
        *("--no-tta", "--json", "--cache", tmp_path / "cache"),
    )

    assert sizes[0] / sizes[1] < 0.35
    assert finished.code == 0, finished.err
    assert finished.json()["engine"]["members"] == [_IN_8_BITS]
    progress = (tmp_path / "masks" / "progress.jsonl").read_text()
    assert _IN_8_BITS in progress  # a run that goes on elsewhere is to compute alike


def test_a_coarse_network_goes_into_the_same_bundle(learned, segduet, tmp_path):
    """The trials and the gate are about the 8-bit networks alone."""
    coarse = tmp_path / "coarse" / learned.model.name
    shutil.copytree(learned.model, coarse)
    plans = json.loads((coarse / "plans.json").read_text())
    spacing = plans["configurations"]["3d_fullres"]["spacing"]
    plans["configurations"]["3d_fullres"]["spacing"] = [2 * length for length in spacing]
    (coarse / "plans.json").write_text(json.dumps(plans))
    finished = segduet(
        *("export", learned.model, "--to", "bundle", "--out", tmp_path / "both.zip"),
        *("--precision", "int8", "--coarse", coarse, *_BOUNDS, "--json"),
        *("--calibration", "tiny", "--data-root", learned.road.data),
    )
    assert finished.code == 0, finished.err
    predicted = segduet(
        *("predict", tmp_path / "both.zip", learned.road.raw / "imagesTr", "--mode", "fast"),
        *("--out", tmp_path / "answers", "--cache", tmp_path / "cache", "--json"),
    )
    assert predicted.code == 0, predicted.err
    assert "coarse" in str(predicted.json()["shortcuts"]["coarse"])


def _break_networks(monkeypatch):
    write = quantisation.write_graph

    def write_zeros(graph, description):
        for node in graph.get_ops():
            if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.i8:
                zeros = opset13.constant(np.zeros(node.data.shape, dtype=np.int8))
                node.output(0).replace(zeros.output(0))
        write(graph, description)

    monkeypatch.setattr(quantisation, "write_graph", write_zeros)


def test_a_converter_that_refuses_later_is_not_taken_for_a_small_network(
    learned, segduet, tmp_path, monkeypatch
):
    """The first trial loses too much, and in the second the converter fails."""
    _break_networks(monkeypatch)
    quantise = quantisation.quantise

    def fail_later(*args, settings):
        if settings.ends_in_float == 2:
            raise RequestError("quantisation", found="trouble", expected="none", remedy="Wait.")
        return quantise(*args, settings=settings)

    monkeypatch.setattr(quantisation, "quantise", fail_later)
    refused = segduet(
        *("export", learned.model, "--to", "openvino", "--out", tmp_path / "int8"),
        *("--precision", "int8", "--calibration", "tiny", "--data-root", learned.road.data),
        *_BOUNDS,
    )
    assert refused.code == 2
    assert "trouble" in refused.err
    assert not list(tmp_path.iterdir())


def test_a_broken_network_is_refused_and_nothing_is_written(
    learned, segduet, tmp_path, monkeypatch
):
    """All weights of the quantised graph are zeroed behind the exporter's back."""
    _break_networks(monkeypatch)
    refused = segduet(
        *("export", learned.model, "--to", "openvino", "--out", tmp_path / "int8"),
        *("--precision", "int8", "--calibration", "tiny", "--data-root", learned.road.data),
        *("--gate-report", tmp_path / "gate.json", *_BOUNDS),
    )

    assert refused.code == 2
    assert "accuracy gate" in refused.err
    assert "gate: REFUSED on 2 held cases (2 with drawn masks)" in refused.err
    assert [p.name for p in tmp_path.iterdir()] == ["gate.json"]
    report = GateReport.model_validate_json((tmp_path / "gate.json").read_text())
    assert not report.passed
    # before it was judged, more was tried in float, as long as something was left to quantise
    assert [parts.ends_in_float for parts in report.tried][:2] == [1, 2]
    assert report.tried[0].lowest_dice < 0.95
    assert report.float_parts == max(report.tried, key=lambda parts: parts.lowest_dice)
    assert f"chosen from {len(report.tried)} by Dice" in refused.err


def test_a_hospital_with_images_alone_gates_on_agreement(learned, segduet, tmp_path):
    finished = segduet(
        *("export", learned.model, "--to", "bundle", "--out", tmp_path / "model.zip"),
        *("--precision", "int8", "--calibration", learned.road.raw / "imagesTr"),
        *("--min-dice", 0.9, "--json"),
    )

    assert finished.code == 0, finished.err
    report = GateReport.model_validate(finished.json()["gate"])
    assert (report.n, report.num_with_masks) == (4, 0)
    assert report.tasks[0].reference is None
    assert len(report.not_judged) == 2
    answered = load(tmp_path / "model.zip", cache=tmp_path / "cache")
    assert [m.engine.name for m in answered.members] == [_IN_8_BITS]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "onnx", "--precision", "int8", "--calibration", "tiny"), "--to onnx"),
        (("--to", "nnunet", "--precision", "int8", "--calibration", "tiny"), "--to nnunet"),
        (
            ("--to", "bundle", "--format", "onnx", "--precision", "int8", "--calibration", "tiny"),
            "--to bundle --format onnx",
        ),
        (("--to", "openvino", "--precision", "int8"), "found no --calibration"),
        (("--to", "openvino", "--calibration", "tiny"), "options for networks in 8 bits"),
        (("--to", "openvino", "--min-dice", "0.9"), "options for networks in 8 bits"),
    ],
)
def test_options_that_do_not_go_together_are_refused(road, segduet, tmp_path, options, said):
    refused = segduet(
        "export", road.model, "--out", tmp_path / "x", "--data-root", road.data, *options
    )

    assert refused.code == 2
    assert said in refused.err
    assert not list(tmp_path.iterdir())


def test_too_few_images_are_refused(model, root, road, tmp_path):
    shutil.copy(road.raw / "imagesTr" / "c0_0000.nii.gz", tmp_path)

    with pytest.raises(RequestError, match="Bring images of more patients"):
        _cases(replace(model), tmp_path, root)
