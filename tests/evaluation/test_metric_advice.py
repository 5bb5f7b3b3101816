"""Feature 59: every rule of the advice speaks where its property is there, and only there."""

import re
from dataclasses import replace

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import DataError
from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.evaluation import mask_advice, task_advice
from segduet.evaluation.data_fingerprint import (
    DatasetFingerprint,
    TaskFingerprint,
    dataset_fingerprint,
)
from segduet.evaluation.evaluate import References
from segduet.evaluation.mask_fingerprint import (
    TINY_SIDE_VOXELS,
    RegionFingerprint,
    mask_fingerprint,
)
from segduet.evaluation.measures import task_measures
from segduet.evaluation.metric_advice import metric_advice
from segduet.io.images import write_label_map
from segduet.metrics.declared import SEGMENTATION_METRICS

LABELS = LabelScheme(labels=(("background", (0,)), ("lesion", (1,))))
TWO_LABELS = LabelScheme(labels=(("background", (0,)), ("lesion", (1,)), ("organ", (2,))))
NUM_CASES = 24
SHAPE = (20, 30, 30)


def ball(centre: tuple[int, int, int] = (10, 10, 10), radius: float = 5.0) -> np.ndarray:
    places = np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))
    return (np.square(places).sum(0) <= radius**2).astype(np.uint8)


PLAIN = ball()
TINY = ball(radius=2.0)
SEVERAL = np.maximum(PLAIN, ball((10, 22, 22)))
THIN = np.zeros(SHAPE, dtype=np.uint8)
THIN[8:11, 1:29, 1:29] = 1
EMPTY = np.zeros(SHAPE, dtype=np.uint8)


def of_masks(
    *masks: np.ndarray,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    dims: int = 3,
    labels: LabelScheme = LABELS,
) -> DatasetFingerprint:
    """Of 24 masks: the given ones in turn."""
    grid = Geometry(shape_zyx=masks[0].shape, spacing_zyx_mm=spacing, num_spatial_dims=dims)
    each = [mask_fingerprint(Volume(array=mask[None], geometry=grid), labels) for mask in masks]
    found = [each[i % len(each)] for i in range(NUM_CASES)]
    return DatasetFingerprint(
        num_cases=NUM_CASES,
        num_patients=NUM_CASES,
        num_without_unit=NUM_CASES if dims == 2 else 0,
        spacing_ratio=each[0].spacing_ratio,
        regions={
            name: RegionFingerprint.of([mask.regions[name] for mask in found])
            for name in each[0].regions
        },
        tasks={},
    )


def of_task(kind: str = "multiclass", *counts: int, remoteness: float | None = None):
    return DatasetFingerprint(
        num_cases=sum(counts) or 200,
        num_patients=sum(counts) or 200,
        num_without_unit=0,
        spacing_ratio=None,
        regions={},
        tasks={
            "grade": TaskFingerprint(
                kind=kind,
                num_cases=sum(counts) or 200,
                counts={"abcdef"[i]: count for i, count in enumerate(counts)},
                remoteness=remoteness,
            )
        },
    )


def said(data: DatasetFingerprint) -> set[tuple[str, str, str]]:
    """(problem, verdict, metric) of all advice."""
    advice = metric_advice(data)
    return {(a.problem, a.verdict, metric) for a in advice for metric in a.metrics}


BALANCED = of_task("multiclass", 100, 100)
PICTURE = np.ascontiguousarray(PLAIN[10:11])
FEW = replace(of_masks(PLAIN).regions["lesion"], num_masks=12, num_present=12)

#: rule -> (data with the property, the same without it, what is said of which metrics)
RULES = {
    "tiny_components": (
        of_masks(PLAIN, PLAIN, TINY),
        of_masks(PLAIN),
        {
            ("look", "nsd"),
            ("look", "lesion_recall"),
            ("look", "lesion_precision"),
            ("look", "lesion_f1"),
            ("careful", "dsc"),
            ("careful", "iou"),
        },
    ),
    "several_components": (
        of_masks(PLAIN, SEVERAL),
        of_masks(PLAIN),
        {
            ("look", "lesion_recall"),
            ("look", "lesion_precision"),
            ("look", "lesion_f1"),
            ("careful", "dsc"),
            ("careful", "iou"),
            ("careful", "recall"),
            ("careful", "hd95_mm"),
            ("careful", "assd_mm"),
        },
    ),
    "one_component": (
        of_masks(PLAIN),
        of_masks(PLAIN, SEVERAL),
        {("uninformative", f"lesion_{figure}") for figure in ("recall", "precision", "f1")},
    ),
    "empty_references": (
        of_masks(PLAIN, EMPTY),
        of_masks(PLAIN),
        {
            *(("careful", name) for name in ("dsc", "iou", "f2", "nsd", "lesion_f1")),
            *(("careful", name) for name in ("hd95_mm", "assd_mm", "recall", "lesion_recall")),
            ("look", "volume_difference_ml"),
        },
    ),
    "thin_shape": (
        of_masks(THIN),
        of_masks(PLAIN),
        {("look", "nsd"), ("careful", "dsc"), ("careful", "iou")},
    ),
    "unequal_sizes": (
        of_masks(PLAIN, ball(radius=9.0), ball(radius=4.0)),
        of_masks(PLAIN),
        {("careful", "dsc"), ("careful", "iou"), ("careful", "volume_difference_ml")},
    ),
    "few_masks": (
        replace(of_masks(PLAIN), regions={"lesion": FEW}),
        of_masks(PLAIN),
        {("careful", "dsc"), ("careful", "nsd")},
    ),
    "segmentation": (
        of_masks(PLAIN),
        of_masks(PLAIN, TINY),
        {("look", "dsc"), ("look", "nsd")},
    ),
    "anisotropic_spacing": (
        of_masks(PLAIN, spacing=(3.0, 1.0, 1.0)),
        of_masks(PLAIN, spacing=(2.9, 1.0, 1.0)),
        {("careful", "nsd"), ("careful", "hd95_mm"), ("careful", "assd_mm")},
    ),
    "no_unit": (
        of_masks(PICTURE, spacing=SPACING_2D_ZYX_MM, dims=2),
        of_masks(PICTURE, spacing=(5.0, 1.0, 1.0)),
        {("careful", n) for n in ("nsd", "hd95_mm", "assd_mm", "volume_difference_ml")},
    ),
    "unequal_regions": (
        of_masks(np.maximum(PLAIN, 2 * ball((9, 20, 20), 2.0)), labels=TWO_LABELS),
        of_masks(np.maximum(PLAIN, 2 * ball((9, 20, 20), 4.0)), labels=TWO_LABELS),
        {("careful", "dsc")},
    ),
    "imbalance": (
        of_task("multiclass", 200, 100),
        of_task("multiclass", 199, 100),
        {("uninformative", "accuracy"), ("look", "macro_f1"), ("look", "mcc")},
    ),
    "rare_positives": (
        of_task("binary", 910, 90),
        of_task("binary", 900, 100),
        {("careful", "auroc"), ("look", "average_precision")},
    ),
    "prevalence": (
        of_task("binary", 100, 100),
        BALANCED,
        {
            *(("careful", name) for name in ("average_precision", "mcc", "macro_f1")),
            *(("look", name) for name in ("sensitivity", "specificity")),
            ("look", "positive_likelihood_ratio"),
        },
    ),
    "order": (
        of_task("ordinal", 100, 100, 100),
        of_task("multiclass", 100, 100, 100),
        {
            ("look", "quadratic_kappa"),
            ("look", "rank_error"),
            ("careful", "macro_f1"),
            ("careful", "accuracy"),
        },
    ),
    "absent_classes": (
        of_task("multiclass", 100, 100, 0),
        BALANCED,
        {
            ("careful", "macro_f1"),
            ("uninformative", "auroc"),
            ("uninformative", "average_precision"),
        },
    ),
    "few_of_a_class": (
        of_task("multiclass", 100, 19),
        of_task("multiclass", 100, 20),
        {("careful", "macro_f1")},
    ),
    "few_for_calibration": (
        of_task("multiclass", 50, 49),
        of_task("multiclass", 50, 50),
        {("careful", "ece"), ("look", "brier")},
    ),
    "many_classes": (of_task("multiclass", 50, 50, 50), BALANCED, {("careful", "auroc")}),
    "several_findings": (
        of_task("multilabel", 100, 100),
        BALANCED,
        {("careful", "exact_match")},
    ),
    "classification": (BALANCED, of_task("multiclass", 200, 100), {("look", "macro_f1")}),
    "remote_values": (
        of_task("regression", remoteness=3.0),
        of_task("regression", remoteness=2.9),
        {("careful", "rmse"), ("careful", "r2"), ("look", "mae"), ("look", "spearman")},
    ),
    "regression": (
        of_task("regression", remoteness=2.9),
        of_task("regression", remoteness=3.0),
        {("look", "mae")},
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_speaks_where_its_property_is_there_and_only_there(rule):
    with_it, without, wanted = RULES[rule]
    assert {(v, metric) for problem, v, metric in said(with_it) if problem == rule} == wanted
    assert {problem for problem, _, _ in said(without)}.isdisjoint({rule})


def test_tiny_lesions_change_what_to_look_at():
    """What is a pair of good metrics for balls is none for specks."""
    large, small = said(of_masks(PLAIN)), said(of_masks(TINY))
    assert ("segmentation", "look", "dsc") in large
    assert ("one_component", "uninformative", "lesion_recall") in large
    assert {metric for _, verdict, metric in small if verdict == "look"} == {
        "nsd",
        "lesion_recall",
        "lesion_precision",
        "lesion_f1",
    }


def test_an_absent_finding_or_grade_is_named():
    """An ordinal task has no AUROC that could be undefined."""
    (advice,) = [
        a for a in metric_advice(of_task("ordinal", 50, 0, 50)) if a.problem == "absent_classes"
    ]
    assert (advice.metrics, advice.measured) == (("macro_f1",), 1.0)
    assert "['b']" in advice.why


def test_several_cases_per_patient_concern_every_figure():
    """160 volumes of 80 patients are no 160 independent cases."""
    once = replace(BALANCED, num_cases=160, num_patients=160)
    twice = replace(once, num_patients=80)
    (advice,) = [a for a in metric_advice(twice) if a not in metric_advice(once)]
    assert (advice.problem, advice.subject) == ("several_cases_per_patient", "every figure")
    assert (advice.metrics, advice.measured) == ((), 2.0)
    assert "160 cases are of 80 patients" in advice.why


def test_the_measured_number_stands_in_the_sentence():
    (advice,) = [a for a in metric_advice(of_masks(THIN)) if a.problem == "thin_shape"][:1]
    assert advice.measured == pytest.approx(1.5 / (3 * 3 * 28 * 28 / (4 * np.pi)) ** (1 / 3))
    assert f"{advice.measured:.2f} of the radius" in advice.why
    assert advice.to_json()["metrics"] == ["nsd"]


def test_the_guide_has_every_rule_and_its_thresholds(repository):
    text = (repository / "docs" / "guide" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    assert set(rows) == {*RULES, "several_cases_per_patient"}
    for rule, numbers in {
        "tiny_components": (f"{mask_advice.MANY:.0%}", f"cube of {TINY_SIDE_VOXELS}"),
        "several_components": (f"{mask_advice.MANY:.0%}",),
        "thin_shape": (f"at most {mask_advice.THIN}",),
        "unequal_sizes": (f"{mask_advice.UNEQUAL_SIZES:.0f} times",),
        "few_masks": (f"fewer than {mask_advice.FEW_MASKS}",),
        "anisotropic_spacing": (f"{mask_advice.ANISOTROPIC:.0f} times",),
        "unequal_regions": (f"{mask_advice.UNEQUAL_SIZES:.0f} times",),
        "imbalance": ("twice",),
        "rare_positives": (f"{task_advice.RARE:.0%}",),
        "few_of_a_class": (f"fewer than {task_advice.FEW_OF_A_CLASS}",),
        "few_for_calibration": (f"fewer than {task_advice.FEW_FOR_CALIBRATION}",),
        "remote_values": (f"{task_advice.REMOTE:.0f} interquartile",),
    }.items():
        told = rows[rule].replace(" %", "%")
        assert all(number in told for number in numbers), (rule, rows[rule])


def test_advice_names_only_what_is_measured():
    """Masks: declared metrics. A task: the figures of its kind."""
    for data, *_ in RULES.values():
        for advice in metric_advice(data):
            if data.tasks:
                assert set(advice.metrics) <= figures_of(data.tasks["grade"].kind), advice
            else:
                assert set(advice.metrics) <= set(SEGMENTATION_METRICS), advice


def figures_of(kind: str) -> set[str]:
    if kind == "regression":
        task, truth = TaskSpec(name="grade", kind="regression"), np.zeros(2)
    else:
        names = ("a", "b") if kind == "binary" else ("a", "b", "c")
        task, truth = TaskSpec(name="grade", kind=kind, classes=names), np.array([0, 1])
    if kind == "multilabel":
        truth = np.zeros((2, 3), dtype=bool)
    return set(task_measures(task, truth, np.full((2, task.answer_size), 0.5)).overall)


# from files --------------------------------------------------------------------------------------

GRID = Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(6.0, 1.5, 1.5))
TASKS = (
    TaskSpec(name="kind", classes=("cyst", "tumour")),
    TaskSpec(name="size", kind="regression", unit="mm"),
)


@pytest.fixture
def references(tmp_path) -> References:
    """Six cases of three patients; the last has no mask, one no class, all but one a size."""
    records = []
    for i, size in enumerate(("1", "2", "3", "4", "50", "")):
        labels = {"kind": "cyst" if i < 4 else "tumour", "size": size}
        known = {k: v for k, v in labels.items() if v and (i, k) != (0, "kind")}
        records.append(CaseRecord(case=f"c{i}", patient=f"p{i // 2}", labels=known))
        if i < 5:
            write_label_map(tmp_path / f"c{i}.nii.gz", (SEVERAL, EMPTY)[i % 2], GRID)
    return References(
        table=CaseTable(records=tuple(records)),
        mask_folders=(tmp_path,),
        file_ending=".nii.gz",
        labels=LABELS,
        tasks=TASKS,
    )


def test_fingerprint_of_a_dataset(references):
    found = dataset_fingerprint(references, workers=2)
    assert (found.num_cases, found.num_patients, found.num_without_unit) == (6, 3, 0)
    assert found.spacing_ratio == pytest.approx(4.0)
    lesion = found.regions["lesion"]
    assert (lesion.num_masks, lesion.num_present, lesion.num_several) == (5, 3, 3)
    kind, size = found.tasks["kind"], found.tasks["size"]
    assert (kind.num_cases, kind.counts) == (5, {"cyst": 3, "tumour": 2})
    assert (size.num_cases, size.counts) == (5, {})
    assert size.remoteness == pytest.approx((50 - 3) / (4 - 2))


def test_fingerprint_of_some_cases(references):
    """What was scored, such as one fold."""
    found = dataset_fingerprint(references, ["c1", "c5"])
    assert (found.num_cases, found.num_patients) == (2, 2)
    assert found.regions["lesion"].num_present == 0
    assert found.tasks["size"].remoteness is None
    assert found.tasks["kind"].counts == {"cyst": 1, "tumour": 1}


def test_a_value_nobody_declared_is_refused(references, tmp_path):
    write_label_map(tmp_path / "c1.nii.gz", 7 * PLAIN, GRID)
    with pytest.raises(DataError, match=r"c1\.nii\.gz.*label values \[7\]"):
        dataset_fingerprint(references)


def test_without_anything_known_there_is_no_advice(references):
    with pytest.raises(DataError, match="no case with a reference mask or a known answer"):
        dataset_fingerprint(replace(references, mask_folders=(), tasks=()))
