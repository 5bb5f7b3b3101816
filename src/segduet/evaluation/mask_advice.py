"""Which metrics of masks suit these references: one rule per property that was measured."""

from collections.abc import Callable

from segduet.evaluation.advice import (
    EVERY_REGION,
    PITFALLS,
    RECOMMENDATIONS,
    Advice,
    pieces_of_advice,
)
from segduet.evaluation.data_fingerprint import DatasetFingerprint
from segduet.evaluation.mask_fingerprint import TINY_SIDE_VOXELS, RegionFingerprint
from segduet.evaluation.region_values import MEAN_FOREGROUND

# The sources name properties, not numbers: where a property begins is our choice.
#: Share of the components that are tiny, and of the masks with several components.
MANY = 0.1
#: A tube ten times as long as it is wide has this compactness, a plate three times as wide.
THIN = 0.4
#: 90th by 10th percentile of the volumes of a region; largest by smallest region.
UNEQUAL_SIZES = 10.0
#: Where nnU-Net too begins to treat slices differently.
ANISOTROPIC = 3.0
#: With fewer, one case is worth more than 5 % of the mean.
FEW_MASKS = 20

_OVERLAP = ("dsc", "iou")
_LESIONS = ("lesion_recall", "lesion_precision", "lesion_f1")
_DISTANCES = ("hd95_mm", "assd_mm")

RegionRule = Callable[[str, RegionFingerprint], list[Advice]]


def mask_advice(data: DatasetFingerprint) -> list[Advice]:
    """Advice on every region, then on all of them together; none without masks."""
    found: list[Advice] = []
    for name, region in data.regions.items():
        of_region = [advice for rule in _REGION_RULES for advice in rule(name, region)]
        found += [*of_region, *_what_remains(name, region, of_region)]
    return [*found, *_anisotropic_spacing(data), *_no_unit(data), *_unequal_regions(data)]


def _tiny_components(name: str, region: RegionFingerprint) -> list[Advice]:
    share = region.num_tiny / max(1, region.num_components)
    if share < MANY:
        return []
    return pieces_of_advice(
        name,
        "tiny_components",
        f"{share:.0%} of {region.num_components} components are smaller than a cube (in a picture: "
        f"a square) of {TINY_SIDE_VOXELS} voxels a side",
        ("look", ("nsd", *_LESIONS), "see which are found, and how near their outlines lie"),
        ("careful", _OVERLAP, "a voxel more or less at their edge changes it a lot"),
        measured=share,
        source=f"{PITFALLS}, small structure sizes (P2.2)",
    )


def _several_components(name: str, region: RegionFingerprint) -> list[Advice]:
    share = region.num_several / max(1, region.num_present)
    if share < MANY:
        return []
    return pieces_of_advice(
        name,
        "several_components",
        f"{share:.0%} of {region.num_present} masks have several components",
        ("look", _LESIONS, "each of them counts once, whatever its size"),
        ("careful", (*_OVERLAP, "recall"), "it can be high while all but the largest are missed"),
        ("careful", _DISTANCES, "the nearest surface may be that of another component"),
        measured=share,
        source=f"{PITFALLS}, occurrence of disconnected structures (P2.2)",
    )


def _one_component(name: str, region: RegionFingerprint) -> list[Advice]:
    """Unless finding it is the question: it may be absent, or is tiny."""
    may_be_absent = region.num_present < region.num_masks
    if may_be_absent or _tiny_components(name, region) or _several_components(name, region):
        return []
    share = 1 - region.num_several / region.num_present
    return pieces_of_advice(
        name,
        "one_component",
        f"every mask has it, {share:.0%} of {region.num_present} in one piece",
        (
            "uninformative",
            _LESIONS,
            "they only tell whether it was missed as a whole or has stray islands",
        ),
        measured=share,
        source="segduet: a share of one is 0 or 1",
    )


def _empty_references(name: str, region: RegionFingerprint) -> list[Advice]:
    num_empty = region.num_masks - region.num_present
    if not num_empty:
        return []
    share = num_empty / region.num_masks
    return pieces_of_advice(
        name,
        "empty_references",
        f"{num_empty} of {region.num_masks} masks ({share:.0%}) have none of it",
        (
            "careful",
            (*_OVERLAP, "f2", "nsd", "lesion_f1"),
            "there it is 0 for a single wrong voxel and undefined without, so that its mean mixes "
            "two questions",
        ),
        (
            "careful",
            (*_DISTANCES, "recall", "lesion_recall"),
            "there it is undefined, so that false alarms never show in it",
        ),
        ("look", ("volume_difference_ml",), "there it is the volume of false alarms"),
        measured=share,
        source=f"{PITFALLS}, possibility of empty prediction or reference (P2.4)",
    )


def _thin_shape(name: str, region: RegionFingerprint) -> list[Advice]:
    if region.compactness is None or region.compactness > THIN:
        return []
    return pieces_of_advice(
        name,
        "thin_shape",
        f"the largest ball inside it has {region.compactness:.2f} of the radius of a ball of its "
        "volume (median)",
        ("look", ("nsd",), "most of it is outline"),
        (
            "careful",
            _OVERLAP,
            "a gap that cuts it in two costs little; clDice, which would see it, is not measured",
        ),
        measured=region.compactness,
        source=f"{PITFALLS}, complex structure shapes (P2.2)",
    )


def _unequal_sizes(name: str, region: RegionFingerprint) -> list[Advice]:
    if region.size_ratio is None or region.size_ratio < UNEQUAL_SIZES:
        return []
    return pieces_of_advice(
        name,
        "unequal_sizes",
        f"the 90th percentile of its volume is {region.size_ratio:.0f} times the 10th",
        ("careful", _OVERLAP, "small ones lose more by the same error; look at it by volume"),
        ("careful", ("volume_difference_ml",), "its mean is that of the large ones"),
        measured=region.size_ratio,
        source=f"{PITFALLS}, high variability of structure sizes (P2.2)",
    )


def _few_masks(name: str, region: RegionFingerprint) -> list[Advice]:
    if region.num_present >= FEW_MASKS:
        return []
    return pieces_of_advice(
        name,
        "few_masks",
        f"only {region.num_present} masks have it",
        ("careful", ("dsc", "nsd"), "quote the interval, not the mean alone"),
        measured=float(region.num_present),
        source=f"{PITFALLS}, small test set size (P2.3)",
    )


def _what_remains(name: str, region: RegionFingerprint, others: list[Advice]) -> list[Advice]:
    """An overlap and an outline metric are the usual pair, where nothing speaks against them."""
    named = {metric for advice in others for metric in advice.metrics}
    rest = tuple(metric for metric in ("dsc", "nsd") if metric not in named)
    if not rest:
        return []
    return pieces_of_advice(
        name,
        "segmentation",
        f"nothing measured on {region.num_present} masks speaks against it",
        ("look", rest, "an overlap and an outline metric complete one another"),
        measured=float(region.num_present),
        source=f"{RECOMMENDATIONS}, importance of structure boundaries (FP2.1)",
    )


def _anisotropic_spacing(data: DatasetFingerprint) -> list[Advice]:
    ratio = data.spacing_ratio
    if ratio is None or ratio < ANISOTROPIC:
        return []
    return pieces_of_advice(
        EVERY_REGION,
        "anisotropic_spacing",
        f"voxels are {ratio:.1f} times as long as they are wide (median)",
        (
            "careful",
            ("nsd", *_DISTANCES),
            "one slice too many is a large distance, and surface points count alike though they "
            "stand for unequal areas",
        ),
        measured=ratio,
        source="Nikolov et al. 2021, who weigh surfaces by their area",
    )


def _no_unit(data: DatasetFingerprint) -> list[Advice]:
    if data.num_without_unit == 0:
        return []
    return pieces_of_advice(
        EVERY_REGION,
        "no_unit",
        f"{data.num_without_unit} masks are pictures, without a spacing",
        (
            "careful",
            ("nsd", *_DISTANCES, "volume_difference_ml"),
            "distances are pixels and volumes pixels / 1000, not comparable between magnifications",
        ),
        measured=float(data.num_without_unit),
        source="segduet: a 2D image has no physical unit",
    )


def _unequal_regions(data: DatasetFingerprint) -> list[Advice]:
    sizes = {
        name: region.median_volume_ml
        for name, region in data.regions.items()
        if region.median_volume_ml is not None
    }
    if not sizes:
        return []
    large, small = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    ratio = sizes[large] / sizes[small]
    if ratio < UNEQUAL_SIZES:
        return []
    return pieces_of_advice(
        MEAN_FOREGROUND,
        "unequal_regions",
        f"{large!r} is {ratio:.0f} times as large as {small!r} (medians)",
        ("careful", ("dsc",), "a mean over both hides which is bad; look at each region"),
        measured=ratio,
        source=f"{PITFALLS}, high variability of structure sizes (P2.2)",
    )


_REGION_RULES: tuple[RegionRule, ...] = (
    _tiny_components,
    _several_components,
    _one_component,
    _empty_references,
    _thin_shape,
    _unequal_sizes,
    _few_masks,
)
