import base64
import io

import numpy as np
import pytest
from PIL import Image

from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, Score
from segduet.reporting.case_images import CaseImages
from segduet.reporting.overlays import choose_overlay_cases, overlay_png

LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,))))


def scored(case: str, dsc: float | None) -> CaseScores:
    score = Score(value=dsc) if dsc is not None else Score(value=None, reason="both empty")
    return CaseScores(case=case, patient=case, segmentation={"organ": {"dsc": score}})


def test_worst_median_best():
    """F88: of the defined scores; an undefined one is neither best nor worst."""
    cases = [scored(*p) for p in [("b", 0.9), ("u", None), ("w", 0.1), ("m", 0.5)]]
    chosen = choose_overlay_cases(cases, LABELS)
    assert [case for case, _ in chosen] == ["w", "m", "b"]
    assert chosen[0][1] == "Worst case, mean foreground DSC 0.100"


@pytest.mark.parametrize(("scores", "expected"), [([0.5], ["0"]), ([], []), ([None], [])])
def test_each_case_once_when_there_are_few(scores, expected):
    cases = [scored(str(i), s) for i, s in enumerate(scores)]
    assert [case for case, _ in choose_overlay_cases(cases, LABELS)] == expected


def drawn(reference_size: int, prediction_size: int, *, name: str = "organ") -> np.ndarray:
    maps = []
    for size in (reference_size, prediction_size):
        label_map = np.zeros((1, 20, 20), np.uint8)
        label_map[0, :size, :size] = 1
        maps.append(label_map)
    shown = CaseImages(
        case="c",
        image=np.full((1, 1, 20, 20), 5.0),
        reference=maps[0],
        prediction=maps[1],
        geometry=Geometry(
            shape_zyx=(1, 20, 20), spacing_zyx_mm=(999.0, 1.0, 1.0), num_spatial_dims=2
        ),
    )
    address = overlay_png(shown, {name: (1,)})
    assert address.startswith("data:image/png;base64,")
    png = base64.b64decode(address.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[:-80].astype(int)


def outlined(picture: np.ndarray) -> int:
    """Pixels in the first outline colour, #56b4e9, legend cut off."""
    return int((np.abs(picture - [0x56, 0xB4, 0xE9]).sum(-1) < 30).sum())


def test_outlines_are_drawn_and_follow_the_masks():
    """F88: masks at the image border included; a flat image and empty masks are no error."""
    assert outlined(drawn(0, 0)) == 0
    one, both = outlined(drawn(12, 0)), outlined(drawn(12, 5))
    assert 0 < one < both
    assert outlined(drawn(20, 20)) > 0


def test_names_are_text_not_formulas():
    drawn(3, 3, name=r"$\nonsense{")
