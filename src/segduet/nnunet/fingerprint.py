"""The dataset fingerprint: what nnU-Net plans from, over the cases it is given and no others (F05).

Each case is analysed by nnunetv2; pooling is ours, so that a case that fails is named.
Source: Isensee et al., Nature Methods 18, 2021, doi 10.1038/s41592-020-01008-z; nnunetv2 2.8.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segduet.core.errors import DataError
from segduet.io.images import read_image, read_label_map
from segduet.nnunet.case_pool import work_on_cases
from segduet.nnunet.raw_cases import RawCase

#: Foreground voxels that intensities are sampled from, over all cases; nnU-Net's number.
_NUM_FOREGROUND_VOXELS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseFacts:
    """Shape after the crop, spacing, sampled foreground intensities, share kept by the crop."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    intensities: Sequence[np.ndarray]
    kept: float


def dataset_fingerprint(
    cases: Mapping[str, RawCase], reader: type[Any], *, workers: int
) -> dict[str, Any]:
    """Content of `dataset_fingerprint.json`, equal to nnunetv2's for the same cases.

    Args:
        cases: cases with masks; their order is the order of the fingerprint's lists.
        reader: nnunetv2's image reader class.
        workers: processes that read images.

    Raises:
        DataError: no mask has any foreground, or a file cannot be read, is cut short, or has
            voxels that are not numbers.
        SegduetError: nnunetv2 stopped at a case, which is named.
    """
    samples_per_case = _NUM_FOREGROUND_VOXELS // len(cases)
    analyse = partial(_analyse, reader, samples_per_case)
    by_case = dict(work_on_cases(analyse, cases, workers=workers))
    facts = [by_case[case] for case in cases]
    num_channels = len(facts[0].intensities)
    pooled = [np.concatenate([f.intensities[c] for f in facts]) for c in range(num_channels)]
    if pooled[0].size == 0:
        raise DataError(
            f"fingerprint of {len(cases)} cases",
            found="masks without a single foreground voxel",
            expected="at least one labelled voxel to measure intensities in",
            remedy="Check the masks with `segduet check`.",
        )
    return {
        "spacings": [list(map(float, f.spacing)) for f in facts],
        "shapes_after_crop": [list(map(int, f.shape)) for f in facts],
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics(values) for channel, values in enumerate(pooled)
        },
        "median_relative_size_after_cropping": float(np.median([f.kept for f in facts])),
    }


def _analyse(reader: type[Any], num_samples: int, _case: str, files: RawCase) -> _CaseFacts:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )

    # nnU-Net's readers fill up a NIfTI file that was cut short without a word; ours refuse it
    read_image(files.images)
    if files.mask is not None:
        read_label_map(files.mask)
    shape, spacing, intensities, _, kept = DatasetFingerprintExtractor.analyze_case(
        [str(p) for p in files.images], str(files.mask), reader, num_samples
    )
    return _CaseFacts(shape=shape, spacing=spacing, intensities=intensities, kept=float(kept))


def _statistics(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return {
        "mean": float(np.mean(values)),
        "median": float(median),
        "std": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }
