"""The same label maps through nnUNetv2_evaluate_folder and through ours: the same Dice per case."""

from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.evaluation.evaluate import References, evaluate_folder
from segduet.io.images import write_label_map

GRID = Geometry(shape_zyx=(5, 12, 11), spacing_zyx_mm=(3.0, 0.7, 0.7))
PLAIN = LabelScheme(labels=(("background", (0,)), ("a", (1,)), ("b", (2,)), ("ignore", (3,))))
REGIONS = LabelScheme(
    labels=(("background", (0,)), ("whole", (1, 2)), ("core", (2,)), ("ignore", (3,))),
    regions_class_order=(1, 2),
)


def write_pairs(folder: Path) -> list[str]:
    """Reference and prediction of six cases; one has nothing, one is never predicted right."""
    rng = np.random.default_rng(8)
    cases = []
    for index in range(6):
        reference = rng.integers(0, 4, GRID.shape_zyx).astype(np.uint8)
        other = rng.integers(0, 3, GRID.shape_zyx).astype(np.uint8)
        is_kept = (rng.random(GRID.shape_zyx) < 0.7) & (reference < 3)
        prediction = np.where(is_kept, reference, other)
        if index == 4:
            reference[:], prediction[:] = 0, 0
        if index == 5:
            prediction[:] = 0
        for side, label_map in (("labelsTr", reference), ("predictions", prediction)):
            write_label_map(folder / side / f"c{index}.nii.gz", label_map, GRID)
        cases.append(f"c{index}")
    return cases


@pytest.mark.parametrize("labels", [PLAIN, REGIONS], ids=["labels", "regions"])
def test_dice_and_iou_of_every_case_are_those_of_stock_nnunet(tmp_path, labels, monkeypatch):
    """C3.1, issue 5: within 1e-9; undefined here where stock says NaN. Ignored voxels too."""
    cases = write_pairs(tmp_path)
    # threads instead of processes, of which each would import torch once more
    monkeypatch.setattr("multiprocessing.get_context", lambda _: SimpleNamespace(Pool=ThreadPool))
    members = dict(labels.foreground)
    keys = {name: m if labels.has_regions else m[0] for name, m in members.items()}
    stock = compute_metrics_on_folder(
        *(str(tmp_path / side) for side in ("labelsTr", "predictions")),
        None,
        SimpleITKIO(),
        ".nii.gz",
        list(keys.values()),
        ignore_label=3,
        num_processes=1,
    )
    references = References(
        table=CaseTable(records=tuple(CaseRecord(case=c, patient=c) for c in cases)),
        mask_folders=(tmp_path / "labelsTr",),
        file_ending=".nii.gz",
        labels=labels,
    )
    ours = evaluate_folder(references, tmp_path / "predictions", answers={})
    num_compared = 0
    for scores, theirs in zip(ours, stock["metric_per_case"], strict=True):
        assert Path(theirs["reference_file"]).name == f"{scores.case}.nii.gz"
        for region, key in keys.items():
            for metric, name in (("dsc", "Dice"), ("iou", "IoU")):
                value, expected = scores.segmentation[region][metric].value, theirs["metrics"][key]
                if np.isnan(expected[name]):
                    assert value is None
                else:
                    assert value == pytest.approx(expected[name], rel=0, abs=1e-9)
                    num_compared += 1
    assert num_compared == 20
