"""What fast mode finds and how well it answers on a phantom, case by case; for abdomen.py."""

import functools
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import segduet
from abdomen_phantoms import as_volume
from segduet.core.prediction import Prediction
from segduet.core.prepared import Box
from segduet.core.volume import Volume
from segduet.dataset.phantoms.pancreas import PhantomCase
from segduet.inference.coarse import CoarseLook, look_coarsely
from segduet.inference.predictor import predict_case
from segduet.inference.region import native_patch
from segduet.inference.regional import RegionSearch, predict_in_region
from segduet.preparation.boxes import box_shape, whole_box, widened
from segduet.preparation.cropping import box_slices
from segduet.workflows.loading import LoadedModel
from segduet.workflows.models import open_model

#: Regions that are scored: name -> labels.
REGIONS = {"whole pancreas": (1, 2), "pancreas": (1,), "lesion": (2,)}


@functools.cache
def _loaded(model: Path, **settings: Any) -> LoadedModel:
    return segduet.load(model, engine="openvino", device="cpu", **settings)


def recall_of_case(phantom: PhantomCase, *, coarse: Path, fine: Path, index: int) -> dict[str, Any]:
    """How much of the reference lies in the region that is found first, and in the last one.

    In place of the fine network stands the reference, cut to the region: what is measured is the
    coarse network and the checks, not how well the fine one segments.
    """
    loaded = _loaded(coarse, mode="fast")
    folder = open_model(fine)
    volume = as_volume(phantom)
    regions: list[Box] = []

    def look(image: Volume, case: str, part: Box) -> CoarseLook:
        return look_coarsely(
            loaded.members,
            image,
            case=case,
            plan=loaded.model.plan,
            configuration=loaded.model.configuration,
            labels=loaded.model.labels,
            settings=loaded.settings,
            region=part,
        )

    def predict(region: Box) -> Prediction:
        regions.append(region)
        inside = np.zeros_like(phantom.label_map)
        inside[box_slices(region)] = phantom.label_map[box_slices(region)]
        return Prediction(case="ct", label_map=inside, geometry=phantom.geometry)

    search = RegionSearch(
        plan=folder.plan,
        configuration=folder.configuration,
        step=loaded.settings.step,
        crops_body=True,
        look=look,
    )
    started = time.perf_counter()
    prediction = predict_in_region(search, volume, "ct", predict)
    assert prediction.seen is not None
    num_voxels = int((phantom.label_map > 0).sum())
    return {
        "index": index,
        "reference_voxels": num_voxels,
        "inside_first": _inside(phantom, regions[0]),
        "inside_last": _inside(phantom, regions[-1]),
        "first_share_of_scan": float(np.prod(box_shape(regions[0])) / phantom.label_map.size),
        "num_regions": len(regions),
        "found_by": str(prediction.seen.found_by),
        "notes": list(prediction.seen.notes),
        "seconds": time.perf_counter() - started,
    }


def _inside(phantom: PhantomCase, region: Box) -> int:
    return int((phantom.label_map[box_slices(region)] > 0).sum())


def recall_summary(cases: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Pooled over all voxels, and the worst scan."""
    done = list(cases)
    voxels = sum(case["reference_voxels"] for case in done)
    shares = [case["inside_first"] / case["reference_voxels"] for case in done]
    return {
        "scans": len(done),
        "reference_voxels": voxels,
        "recall": sum(case["inside_first"] for case in done) / voxels,
        "recall_after_checks": sum(case["inside_last"] for case in done) / voxels,
        "least_recall_of_a_scan": min(shares),
        "scans_below_0.999": sum(share < 0.999 for share in shares),
        "found_by": {name: sum(case["found_by"] == name for case in done)
                     for name in sorted({case["found_by"] for case in done})},
        "scans_predicted_again": sum(case["num_regions"] > 1 for case in done),
        "median_share_of_scan": statistics.median(case["first_share_of_scan"] for case in done),
    }  # fmt: skip


def accuracy_of_case(
    phantom: PhantomCase, *, bundle: Path, fine: Path, index: int
) -> dict[str, Any]:
    """Overlaps with the reference of fast mode and of nnU-Net's windows.

    `stock_tiles` are all windows of the whole scan as stock nnU-Net lays them, without mirroring,
    by the same weights in bf16. `stock_mirrored` is the same answer, but what lies within half a
    patch around the reference and around fast mode's region is answered anew with all mirrorings,
    windows laid over that part: mirroring the whole scan takes eight times as long as the arm
    without, hours on this machine.
    """
    volume = as_volume(phantom)
    fast = _loaded(bundle, mode="fast").predict(volume, "ct")
    assert fast.label_map is not None
    assert fast.seen is not None
    started = time.perf_counter()
    exact = _loaded(fine, precision="bf16", mirrored=False)
    tiles = exact.predict(volume, "ct").label_map
    tiles_s = time.perf_counter() - started
    part = _surely_around(phantom, fast.seen.box, exact)
    mirrored = _loaded(fine, precision="bf16", mirrored=True)
    within = predict_case(
        mirrored.members,
        volume,
        case="ct",
        plan=mirrored.model.plan,
        configuration=mirrored.model.configuration,
        labels=mirrored.model.labels,
        settings=mirrored.settings,
        region=part,
    ).label_map
    assert tiles is not None
    assert within is not None
    together = tiles.copy()
    together[box_slices(part)] = within[box_slices(part)]
    answers = {"fast": fast.label_map, "stock_tiles": tiles, "stock_mirrored": together}
    return {
        "index": index,
        "overlaps": {
            arm: {name: _overlap(answer, phantom.label_map, labels)
                  for name, labels in REGIONS.items()}
            for arm, answer in answers.items()
        },
        "found_by": str(fast.seen.found_by),
        "notes": list(fast.seen.notes),
        "mirrored_part": part,
        "tiles_seconds": tiles_s,
    }  # fmt: skip


def _surely_around(phantom: PhantomCase, region: Box, model: LoadedModel) -> Box:
    """The reference and the region, with half a patch around both."""
    spacing = phantom.geometry.spacing_zyx_mm
    half = [length // 2 for length in native_patch(model.model.configuration, spacing)]
    places = np.nonzero(phantom.label_map)
    z, y, x = (
        (min(low, int(voxels.min())), max(high, int(voxels.max()) + 1))
        for (low, high), voxels in zip(region, places, strict=True)
    )
    limits = whole_box(phantom.label_map.shape)
    return widened((z, y, x), (half[0], half[1], half[2]), limits)


def _overlap(answer: np.ndarray, reference: np.ndarray, labels: tuple[int, ...]) -> list[int]:
    """Voxels of both, of the answer, of the reference."""
    mine, true = np.isin(answer, labels), np.isin(reference, labels)
    return [int((mine & true).sum()), int(mine.sum()), int(true.sum())]


def accuracy_summary(cases: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean DSC of every arm and region, and what fast mode loses."""
    done = list(cases)
    scores = {
        arm: {
            name: [_dsc(case["overlaps"][arm][name]) for case in done] for name in REGIONS
        }
        for arm in done[0]["overlaps"]
    }  # fmt: skip
    against = ("stock_tiles", "stock_mirrored")
    return {
        "scans": len(done),
        "dsc": {arm: {n: statistics.mean(v) for n, v in s.items()} for arm, s in scores.items()},
        "dsc_of_scans": scores,
        "loss_of_fast_mode": {
            arm: {
                name: statistics.mean(
                    b - a for a, b in zip(scores["fast"][name], scores[arm][name], strict=True)
                )
                for name in REGIONS
            }
            for arm in against
        },
        "notes": [case["notes"] for case in done],
    }


def _dsc(overlap: list[int]) -> float:
    both, mine, true = overlap
    return 2 * both / (mine + true)
