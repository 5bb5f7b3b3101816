"""F89-F91, F97, B19, B21: documents from artefacts planted on disk, and from the whole road."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segduet.cli.documenting import DocumentName
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.reporting.documents.catalogue import DOCUMENTS
from segduet.workflows.documenting import DocumentRequest, document
from tiny_bundles import DESCRIPTION, PLAN

DATASET = "Dataset501_tiny"
#: Every figure is odd enough to be found again, and to be missed.
FIGURE = {"mean": 0.7137, "ci95": [0.6131, 0.8149], "n": 41, "sd": 0.0913, "median": 0.7717}
SCORE = {"value": 0.5353, "ci95": [0.4343, 0.6363], "n": 41, "p_chance": 0.0173}
SUMMARY = {
    "schema_version": 1,
    "n_cases": 41,
    "segmentation": {"organ": {"dsc": {**FIGURE, "n_undefined": 3, "unit": ""}}},
    "classification": {
        "subtype": {
            "macro_f1": {**SCORE, "optimism": 0.0919},
            "ece": {"value": 0.1717, "ci95": [0.1313, 0.2323], "n": 41},
            "f1_by_class": {
                "a": {"value": 0.3737, "ci95": None, "n": 41, "reason": "one class"},
            },
            "confusion_matrix": {"classes": ["a", "b"], "counts": [[17, 5], [7, 12]]},
        }
    },
    "baselines": {
        "majority_class": {
            "description": "Always the most frequent class",
            "classification": {"subtype": {"macro_f1": {**SCORE, "value": 0.4747}}},
        }
    },
    "targets": [
        {
            "name": "Organ DSC",
            "threshold": 0.8181,
            "direction": "at_least",
            "value": 0.7137,
            "ci95": [0.6131, 0.8149],
            "n": 41,
            "gap": -0.1044,
            "status": "FAIL",
            "is_settled": True,
        }
    ],
    "selected_from": 23,
    "interval": "95 % bootstrap over patients",
    "seed": 29,
}
RUN = {
    "schema_version": 1,
    "dataset": DATASET,
    "plans": "segduetSmallPlans",
    "configuration": "3d_fullres",
    "fold": "3",
    "recipe": {
        "name": "planted",
        "epochs": 77,
        "steps_per_epoch": 53,
        "answers": "joint",
        "network": {"kind": "planned"},
        "head": {"kind": "mask_pooled"},
        "optimizer": {"name": "adamw", "learning_rate": 0.00123, "weight_decay": 0.0456},
        "schedule": {"kind": "cosine", "warmup_share": 0.0789},
        "validation": {"patches_per_epoch": 19, "full_cases_every": 1, "selection": "best_joint"},
        "early_stopping": {"kind": "off"},
        "thermal": {"enabled": False},
    },
    "seed": 4711,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "train_cases": ["c1", "c2", "c3"],
    "validation_cases": ["c4", "c5"],
    "selection_rule": "best_joint",
    "selection_formula": "mean of DSC and F1",
    "selected_from": 3,
    "epochs_done": 3,
    "num_parameters": 987654,
    "seconds": {"wall": 4680.0, "cpu": 9360.0},
    "versions": {"segduet": "9.8.7"},
}
HISTORY = [
    {"epoch": e, "train": {"loss": 1.21 - e / 8}, "full_case": {"score": score, "n": 37}}
    for e, score in enumerate([0.31, 0.47, 0.43])
]
NUMBER = re.compile(r"-?\d+\.\d+")


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = content if isinstance(content, list) else [content]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """`run/fold_3` with plan and dataset beside it, `evaluation`, and `data` with cases.csv."""
    fold = tmp_path / "run" / "fold_3"
    put(fold / "run.json", RUN)
    put(fold / "metrics.jsonl", HISTORY)
    arguments = {"dataset": DATASET, "configuration": "3d_fullres", "fold": "3"}
    put(
        fold / "manifest.json",
        {
            "command": "train",
            "arguments": arguments,
            "started": "2031-02-03T04:05:06Z",
            "warnings": ["one <b>thing"],
        },
    )
    put(tmp_path / "run" / "plans.json", PLAN)
    put(tmp_path / "run" / "dataset.json", DESCRIPTION)
    put(tmp_path / "evaluation" / "summary.json", SUMMARY)
    put(
        tmp_path / "evaluation" / "manifest.json",
        {
            "command": "evaluate",
            "arguments": {"reference": DATASET, "predictions": str(tmp_path / "predictions")},
        },
    )
    put(
        tmp_path / "predictions" / "manifest.json",
        {
            "command": "predict",
            "arguments": {
                "model": str(tmp_path / "run"),
                "folds": ["3"],
                "step": 0.37,
                "mirrored": True,
                "aggregation": "mean",
            },
            "outcome": {"cases": 41},
            "seconds": 7.0,  # of the last run, which resumed
        },
    )
    rows = [f"c{i},ok,,{12.2 + (i - 20) / 10}" for i in range(41)]
    (tmp_path / "predictions" / "predictions.csv").write_text(
        "\n".join(["case,status,message,seconds", *rows, "c99,failed,no image,0"]) + "\n"
    )
    table = tmp_path / "data" / "nnUNet_raw" / DATASET / "cases.csv"
    table.parent.mkdir(parents=True)
    table.write_text(
        "case,patient,site,split,subtype\n"
        "c1,p1,A,,a\nc2,p2,B,,a\nc3,p3,A,,\nc4,p3,A,,b\nc5,p5,,,c\n"
    )
    return tmp_path


def write(planted: Path, *only: str, out: str = "out") -> dict[str, str]:
    """File name -> text of the documents."""
    request = DocumentRequest(
        run=planted / "run" / "fold_3",
        evaluation=planted / "evaluation",
        out=planted / out,
        only=only,
    )
    document(DataRoot.resolve(planted / "data", {}), request)
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in (planted / out).iterdir()
        if path.name != "manifest.json"
    }


def test_the_technical_report_says_what_was_planted(planted: Path) -> None:
    """F90: methods and data."""
    text = write(planted, "technical_report")["technical_report.md"]
    for told in (
        "Date of the training: 2031-02-03",
        "AdamW, learning rate 0.00123, weight decay 0.0456, schedule cosine",
        "warm-up over 0.0789 of the steps",
        "3 of 77 epochs of 53 steps",
        "987,654 trainable parameters",
        "1.30 h (2.60 h of processor time), of one run with seed 4711",
        "Mean of DSC and F1 (rule best_joint); chosen from 3 candidate(s)",
        "3 training and 2 validation cases",
        # p3 is in both, on purpose
        "Training and validation share 0 cases and 1 patients (3 and 2 patients)",
        "subtype a: 2 + 0; subtype b: 0 + 1; subtype c: 0 + 1",
        "Cases without an answer: 1 for subtype",
        "Patches of 8 x 16 x 16 voxels",
        "resampled to 2 x 1 x 1 mm",
        "step of 0.37 of the patch, mirrored: yes",
        "12.20 s per case on average, n = 41 cases",
        "segduet 9.8.7",
        r"one \<b\>thing",
    ):
        assert told in text, told


def test_the_results_hold_exactly_the_planted_numbers(planted: Path) -> None:
    """F90, B19: every number of the results is one of the artefacts', with n and interval."""
    text = write(planted, "technical_report")["technical_report.md"]
    results = text.split("### Segmentation")[1].split("## 5. Limits")[0]
    allowed = set(map(float, NUMBER.findall(json.dumps(SUMMARY))))
    shown = NUMBER.findall(results)
    # shown with three digits (p-values with two)
    assert {s for s in shown if not any(abs(float(s) - a) <= 0.00051 for a in allowed)} == set()
    dsc = "| organ | DSC | 0.714 | 0.613 to 0.815 | 41 | 23 |  | 3 |"
    f1 = (
        "| subtype | macro-F1 | 0.535 | 0.434 to 0.636 | 41 | 23 | against chance p = 0.017; up to "
        "0.092 of it may be luck of the choice |"
    )
    assert dsc in results
    assert f1 in results
    assert "| subtype | F1 of a | 0.374 | none: one class | 41 | 23 |  |" in results
    assert "12 of 41 cases have a wrong subtype" in results
    assert (
        "**Organ DSC**: 0.714 / \u2265 0.8181 [FAIL], gap -0.104, 95 % CI 0.613 to 0.815, n = 41, "
        "selected_from = 23" in results
    )
    assert "best of 23 candidates on these very cases" in text.split("## 5. Limits")[1]


def test_the_analysis_finds_the_selected_epoch(planted: Path) -> None:
    """F89: the kept weights are those of epoch 1, whose score is the best, not the last one's."""
    text = write(planted, "training_analysis")["training_analysis.md"]
    best = text.split("### Best Model Performance\n")[1].split("\n#")[0]
    assert "**Epoch**: 1 (best selection/score, selected_from = 3)" in best
    assert "**full_case/score**: 0.4700" in best
    assert "### Final Training Results (Epoch 2)\n- **train/loss**: 0.9600" in text
    assert "n = 37 whole cases (full_case)" in text
    assert "| Organ DSC | \u2265 0.8181 | 0.714 | FAIL | gap -0.104" in text


@pytest.mark.parametrize(
    ("absent", "document_name", "told"),
    [
        ("run/fold_3/metrics.jsonl", "training_summary", "**Training Epochs**: not measured"),
        ("run/plans.json", "technical_report", "**Preprocessing**: not measured"),
        (
            "run/dataset.json",
            "technical_report",
            "**Source**: not measured (nothing in dataset.json)",
        ),
        ("run/fold_3/manifest.json", "model_card", "(date of the training: not measured)"),
        (
            "predictions/predictions.csv",
            "technical_report",
            "**Time**: not measured (nothing in predictions.csv",
        ),
        (
            "predictions/manifest.json",
            "technical_report",
            "not measured (nothing in manifest.json beside the predictions)",
        ),
        (
            "data/nnUNet_raw/Dataset501_tiny/cases.csv",
            "technical_report",
            "shared patients: not measured",
        ),
        ("run/fold_3/model.safetensors", "network", "not measured: no trained weights"),
    ],
)
def test_what_is_absent_is_not_measured(
    planted: Path, absent: str, document_name: str, told: str
) -> None:
    """F90."""
    (planted / absent).unlink(missing_ok=True)
    assert told in "\n".join(write(planted, document_name).values())


def test_without_an_evaluation_no_result_is_told(planted: Path) -> None:
    """F90: the run's own validation is taken, and where there is none, nothing."""
    request = DocumentRequest(run=planted / "run" / "fold_3", out=planted / "out")
    document(DataRoot.resolve(planted / "data", {}), request)
    text = (planted / "out" / "technical_report.md").read_text()
    assert "**Performance**: not measured (nothing in summary.json of an evaluation)" in text
    assert "### Segmentation\n\nnot measured" in text
    put(planted / "run" / "fold_3" / "validation" / "summary.json", SUMMARY)
    document(DataRoot.resolve(planted / "data", {}), request)
    assert "DSC of organ 0.714" in (planted / "out" / "technical_report.md").read_text()


def test_the_same_artefacts_give_the_same_bytes(planted: Path) -> None:
    """And no document names a case, a patient or a path."""
    first, second = write(planted), write(planted, out="again")
    assert first == second
    assert set(first) == {file for files in DOCUMENTS.values() for file in files}
    everything = "\n".join(first.values())
    assert str(planted) not in everything
    assert re.findall(r"\b[cp][1-5]\b", everything) == []


def test_the_card_agrees_with_a_bundles(planted: Path) -> None:
    """B21: the same headings for what only a person knows, the same rows for the training."""
    from segduet.inference.bundles.model_card import OPEN_PARTS

    card = write(planted, "model_card")["model_card.md"]
    for title, question in OPEN_PARTS:
        assert f"## {title}\n\n*needs a person*\n\nTo be written: {question}." in card
    assert "| epochs planned | 77 |" in card
    assert "| balancing | not in the record |" in card
    assert "| organ | dsc | 0.714 | 0.613 to 0.815 | 41 |" in card


def test_a_hostile_name_stays_text(planted: Path) -> None:
    """Markdown in names of classes and regions is shown, not obeyed."""
    hostile = "x|<script>[a](b)`*"
    changed = json.loads(json.dumps(SUMMARY).replace("organ", hostile))
    put(planted / "evaluation" / "summary.json", changed)
    told = 0
    for name, text in write(planted).items():
        if name.endswith(".md"):
            told += text.count(r"x\|\<script\>\[a\](b)\`\*")
            assert "<script" not in text.replace(r"x\|\<script\>\[a\](b)\`\*", ""), name
    assert told > 5


def test_bad_requests_are_refused(planted: Path) -> None:
    root, run = DataRoot.resolve(planted / "data", {}), planted / "run" / "fold_3"
    with pytest.raises(RequestError, match=r"found no run\.json"):
        document(root, DocumentRequest(run=planted / "run", out=planted / "out"))
    with pytest.raises(RequestError, match=r"found no summary\.json"):
        document(root, DocumentRequest(run=run, evaluation=run, out=planted / "out"))
    with pytest.raises(RequestError, match="--only poem"):
        document(root, DocumentRequest(run=run, out=planted / "out", only=["poem"]))
    (run / "metrics.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 1"):
        document(root, DocumentRequest(run=run, out=planted / "out"))
    assert not (planted / "out").exists()


def retold(planted: Path, **arguments: Any) -> None:
    """Other arguments of the `predict` whose answers were evaluated; None leaves one out."""
    source = planted / "predictions" / "manifest.json"
    content = json.loads(source.read_text())
    changed = {**content["arguments"], **arguments}
    content["arguments"] = {k: v for k, v in changed.items() if v is not None}
    put(source, content)


def test_scores_of_another_model_are_not_told_of_this_one(planted: Path) -> None:
    """F90: neither another model's, nor another fold's, nor other weights' under the same name."""
    other = planted / "other"
    other.mkdir()
    weights = planted / "run" / "fold_3" / "model.safetensors"
    for arguments, words in (
        ({"model": str(other)}, "other weights.*of .*other"),
        ({"model": str(planted / "run"), "folds": ["0", "1"]}, r"folds \['0', '1'\]"),
        ({"folds": ["3"], "weights_sha256": {"fold_3/model.safetensors": "ab" * 32}}, "other w"),
    ):
        weights.write_bytes(b"weights")
        retold(planted, **arguments)
        with pytest.raises(RequestError, match=words):
            write(planted, "technical_report")
        assert not (planted / "out").exists()


def test_weights_know_themselves_wherever_they_lie(planted: Path) -> None:
    """The hash tells more than a folder's name, as of a bundle or after a move."""
    weights = planted / "run" / "fold_3" / "model.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    retold(planted, model="elsewhere.zip", folds=["0"], weights_sha256={"fold_0": digest})
    text = write(planted, "model_card")["model_card.md"]
    assert "all cases something is known about)" in text


def test_where_no_record_says_who_answered_the_text_says_so(planted: Path) -> None:
    text = write(planted, "technical_report")["technical_report.md"]
    assert "the model that answered" not in text
    retold(planted, model=None)
    text = write(planted, "technical_report")["technical_report.md"]
    assert "known about; the model that answered is not recorded" in text
    (planted / "evaluation" / "manifest.json").unlink()
    text = write(planted, "technical_report")["technical_report.md"]
    assert "which cases is not recorded; the model that answered is not recorded" in text
    assert "at the end of the training" not in text
    assert "of the dataset the training used" not in text


def test_the_validation_of_another_training_is_refused(planted: Path) -> None:
    """Named itself, and as the predictions of an evaluation; the run's own is taken."""
    for run in ("fold_3", "fold_4"):
        put(planted / "run" / run / "run.json", RUN)
        put(planted / "run" / run / "validation" / "summary.json", SUMMARY)
    root, run = DataRoot.resolve(planted / "data", {}), planted / "run"
    own = DocumentRequest(
        run=run / "fold_3",
        evaluation=run / "fold_3" / "validation",
        out=planted / "out",
        only=["technical_report"],
    )
    document(root, own)
    assert "at the end of the training" in (planted / "out" / "technical_report.md").read_text()
    with pytest.raises(RequestError, match="the validation of another training"):
        document(root, replace(own, evaluation=run / "fold_4" / "validation"))
    scored = {"reference": DATASET, "predictions": str(run / "fold_4" / "validation")}
    put(planted / "evaluation" / "manifest.json", {"command": "evaluate", "arguments": scored})
    with pytest.raises(RequestError, match="the validation of another training"):
        document(root, replace(own, evaluation=planted / "evaluation"))


def test_documents_beside_the_run_leave_its_manifest(planted: Path) -> None:
    """B23: how the model was trained stays on record."""
    before = (planted / "run" / "fold_3" / "manifest.json").read_bytes()
    first = write(planted, "technical_report")["technical_report.md"]
    for _ in range(2):
        write(planted, "technical_report", out="run/fold_3")
    assert (planted / "run" / "fold_3" / "manifest.json").read_bytes() == before
    own = json.loads((planted / "run" / "fold_3" / "document_manifest.json").read_text())
    assert own["command"] == "document"
    assert (planted / "run" / "fold_3" / "technical_report.md").read_text() == first


def test_records_of_other_programs_are_told_as_far_as_they_go(planted: Path) -> None:
    """F90: an entry that is not there is not recorded, and no traceback."""
    run = json.loads(json.dumps(RUN))
    run["recipe"]["optimizer"] = {"name": "lion"}
    put(planted / "run" / "fold_3" / "run.json", run)
    put(planted / "run" / "fold_3" / "manifest.json", {"command": "train", "arguments": {"a": 1}})
    retold(planted, step=None, mirrored=None)
    texts = write(planted)
    text = texts["technical_report.md"]
    assert "lion, learning rate not recorded, weight decay not recorded" in text
    assert "a step of not recorded of the patch, mirrored: not recorded" in text
    assert "segduet train" not in text
    retold(planted, aggregation=None)
    assert "Sliding windows" not in write(planted)["technical_report.md"]


def test_the_command_documents_the_road(road: Any, tmp_path: Path, segduet: Callable) -> None:
    """F97: the network is the trained one; B23: a manifest lies beside the documents."""
    arguments = ("--evaluation", road.evaluation, "--out", tmp_path, "--data-root", road.data)
    finished = segduet("document", road.run, *arguments, "--json")
    assert finished.code == 0, finished.err
    record = json.loads((road.run / "run.json").read_text())
    text = (tmp_path / "network.md").read_text()
    assert f"All {record['num_parameters']} parameters are counted once" in text
    assert "heads.task:class" in (tmp_path / "network.svg").read_text()
    assert len(finished.json()["written"]) == len(list(tmp_path.iterdir())) - 1
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["command"] == "document"
    card = (tmp_path / "model_card.md").read_text()
    # "tiny" in the evaluation's arguments is the dataset of the training
    assert "of the dataset the training used, Dataset501_tiny: no external evaluation" in card
    assert "not measured (" not in card


def test_without_pytorch_the_network_is_not_measured(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other documents are written, and the manifest says what is missing."""
    (planted / "run" / "fold_3" / "model.safetensors").write_bytes(b"weights")
    find = importlib.util.find_spec
    absent = {"torch": None}
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: absent[name] if name in absent else find(name)
    )
    texts = write(planted)
    assert "or PyTorch is not installed" in texts["network.md"]
    assert "not measured" in texts["network.svg"]
    assert "987,654 trainable parameters" in texts["technical_report.md"]
    warnings = json.loads((planted / "out" / "manifest.json").read_text())["warnings"]
    assert warnings == ["network: not measured, PyTorch is not installed"]


def test_damaged_weights_are_refused_and_nothing_is_written(
    planted: Path, segduet: Callable
) -> None:
    (planted / "run" / "fold_3" / "model.safetensors").write_bytes(b"weights")
    refused = segduet("document", planted / "run" / "fold_3", "--out", planted / "out")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert not (planted / "out").exists()


def test_the_command_offers_every_document() -> None:
    assert {name.value for name in DocumentName} == set(DOCUMENTS)


def test_only_writes_what_was_asked_for(road: Any, tmp_path: Path, segduet: Callable) -> None:
    finished = segduet("document", road.run, "--out", tmp_path, "--only", "model_card")
    assert finished.code == 0, finished.err
    assert {p.name for p in tmp_path.iterdir()} == {"model_card.md", "manifest.json"}
    refused = segduet("document", road.model, "--out", tmp_path / "none")
    assert refused.code == 2
    assert "expected a run folder" in refused.err
    assert not (tmp_path / "none").exists()
