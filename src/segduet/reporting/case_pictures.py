"""A case as small pictures in a row: image, reference, prediction, and where heads looked."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageColor
from scipy import ndimage

from segduet.core.geometry import Geometry
from segduet.reporting.case_images import (
    CaseImages,
    neighbourhood,
    region_colour,
    slice_of_interest,
)
from segduet.reporting.viewer_data import ViewerCase

Regions = Mapping[str, tuple[int, ...]]
_PANEL_PIXELS = 132
_GAP_PIXELS = 4
_MARGIN_SHARE = 0.35
_MIN_MARGIN = 4.0
_FILL = 0.35
_HEAT = 0.8
#: A head that looked nowhere has no largest weight to divide by.
_NO_ATTENTION = 1e-30
_QUALITY = 82


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Pictures in a row.

    Attributes:
        address: `data:image/webp;base64,...`.
        width: pixels.
        height: pixels.
        panels: what each picture shows.
    """

    address: str
    width: int
    height: int
    panels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePictures:
    """What a page shows of one case, drawn already.

    Attributes:
        case: case id.
        strip: the row of the table of cases.
        close_up: data address of a large picture; empty for most cases.
        caption: why this case has a large picture.
        volumes: what the viewer reads, see `viewer_data.viewer_case`; None for most cases.
        left_out: why a picture or the volumes are missing, where somebody would expect them.
    """

    case: str
    strip: Strip | None = None
    close_up: str = ""
    caption: str = ""
    volumes: ViewerCase | None = None
    left_out: str = ""


def case_strip(shown: CaseImages, regions: Regions) -> Strip:
    """Image, image with reference, image with prediction, close up on the slice of interest.

    Each region is an outline with a light filling in its own colour; every panel has the true
    proportions of the anatomy. Where a head looked is one more panel per task, brighter for more,
    on a scale of its own from 0 to the case's maximum.
    """
    index = slice_of_interest(shown.reference, shown.prediction)
    foreground = shown.foreground[index]
    cut = neighbourhood(foreground, share=_MARGIN_SHARE, at_least=(_MIN_MARGIN, _MIN_MARGIN))
    size = _panel_size([part.stop - part.start for part in cut], shown.geometry)
    grey = _grey(np.asarray(shown.image[0, index], dtype=np.float32)[cut], size)
    panels = {
        "image": grey,
        "reference": _painted(grey, shown.reference[index][cut], regions),
        "prediction": _painted(grey, shown.prediction[index][cut], regions),
    }
    for task, weights in shown.attention.items():
        share = weights[index][cut] / max(float(weights.max()), _NO_ATTENTION)
        panels[f"attention of {task}"] = _heated(grey, share)
    return _strip(panels)


def _panel_size(shape_yx: Sequence[int], geometry: Geometry) -> tuple[int, int]:
    """Height and width in pixels whose longer one is the panel's."""
    _, spacing_y, spacing_x = geometry.spacing_zyx_mm
    height, width = shape_yx[0] * spacing_y, shape_yx[1] * spacing_x
    longer = max(height, width)
    return (
        max(1, round(_PANEL_PIXELS * height / longer)),
        max(1, round(_PANEL_PIXELS * width / longer)),
    )


def _grey(picture: np.ndarray, size_yx: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) float32 in [0, 255], stretched to what the crop holds."""
    low, high = np.percentile(picture, [0.5, 99.5])
    unit = np.clip((picture - low) / max(high - low, 1e-6), 0, 1)
    resized = Image.fromarray((255 * unit).astype(np.uint8)).resize(
        size_yx[::-1], Image.Resampling.BILINEAR
    )
    return np.repeat(np.asarray(resized, dtype=np.float32)[:, :, None], 3, axis=2)


def _painted(grey: np.ndarray, label_map: np.ndarray, regions: Regions) -> np.ndarray:
    painted = grey.copy()
    for number, members in enumerate(regions.values()):
        mask = _resized_mask(np.isin(label_map, members), grey.shape[:2])
        colour = np.array(ImageColor.getrgb(region_colour(number)), dtype=np.float32)
        painted[mask] += _FILL * (colour - painted[mask])
        # the border lies inside the mask, also where the mask meets the edge of the picture
        painted[mask & ~ndimage.binary_erosion(mask, border_value=0)] = colour
    return painted


def _resized_mask(mask: np.ndarray, size_yx: Sequence[int]) -> np.ndarray:
    resized = (
        Image.fromarray(mask)
        .convert("L")
        .resize((size_yx[1], size_yx[0]), Image.Resampling.NEAREST)
    )
    return np.asarray(resized) > 0


def _heated(grey: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours over the grey picture, the denser the larger the share in [0, 1]."""
    size = grey.shape[1::-1]
    resized = Image.fromarray(np.asarray(share, dtype=np.float32)).resize(
        size, Image.Resampling.BILINEAR
    )
    weight = np.asarray(resized)[:, :, None]
    colours = 255 * colormaps["inferno"](weight[:, :, 0])[:, :, :3]
    return np.asarray(grey + _HEAT * np.sqrt(weight) * (colours - grey), dtype=np.float32)


def _strip(panels: Mapping[str, np.ndarray]) -> Strip:
    height, width, _ = panels["image"].shape
    total = len(panels) * width + (len(panels) - 1) * _GAP_PIXELS
    canvas = np.zeros((height, total, 4), dtype=np.uint8)  # the gaps are transparent
    for place, panel in enumerate(panels.values()):
        left = place * (width + _GAP_PIXELS)
        canvas[:, left : left + width, :3] = np.rint(panel)
        canvas[:, left : left + width, 3] = 255
    target = io.BytesIO()
    Image.fromarray(canvas).save(target, format="webp", quality=_QUALITY)
    address = "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode("ascii")
    return Strip(address=address, width=total, height=height, panels=tuple(panels))
