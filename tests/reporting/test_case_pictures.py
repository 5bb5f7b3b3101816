import base64
import io

import numpy as np
from PIL import Image

from segduet.core.geometry import Geometry
from segduet.reporting.case_images import CaseImages
from segduet.reporting.case_pictures import case_strip


def panels(
    reference, prediction, *, spacing=(999.0, 1.0, 1.0), image=None, attention=None
) -> list[np.ndarray]:
    """The panels of a strip, each (height, width, 3)."""
    shape = reference.shape
    rng = np.random.default_rng(0)
    shown = CaseImages(
        case="c",
        image=rng.normal(size=(1, *shape)) if image is None else image,
        reference=reference,
        prediction=prediction,
        geometry=Geometry(shape_zyx=shape, spacing_zyx_mm=spacing),
        attention=attention or {},
    )
    strip = case_strip(shown, {"organ": (1, 2), "lesion": (2,)})
    assert strip.address.startswith("data:image/webp;base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(strip.address.split(",")[1])))
    assert picture.size == (strip.width, strip.height)
    assert strip.panels[3:] == tuple(f"attention of {task}" for task in attention or {})
    width = (strip.width + 4) // len(strip.panels) - 4
    array = np.asarray(picture.convert("RGB")).astype(int)
    lefts = range(0, strip.width, width + 4)
    return [array[:, left : left + width] for left in lefts]


def pixels(panel: np.ndarray, hue: str) -> int:
    """How many have the hue of the first or the second region."""
    redness = panel[..., 0] - panel[..., 2]
    return int(((redness if hue == "yellow" else -redness) > 40).sum())


def test_image_is_plain_and_each_mask_has_its_own_panel():
    """F88: reference and prediction beside each other, nested regions in their own colours."""
    reference, prediction = (np.zeros((1, 40, 40), np.uint8) for _ in range(2))
    reference[0, 10:30, 10:30] = 1
    reference[0, 15:22, 15:22] = 2
    prediction[0, 12:30, 10:30] = 1
    plain, truth, said = panels(reference, prediction)
    assert pixels(plain, "blue") == pixels(plain, "yellow") == 0
    assert pixels(truth, "blue") > 100
    assert pixels(truth, "yellow") > 30
    assert pixels(said, "blue") > 100
    assert pixels(said, "yellow") == 0


def test_proportions_are_those_of_the_body():
    """Pixels twice as high as wide make a picture twice as high."""
    empty = np.zeros((1, 30, 30), np.uint8)
    plain, *_ = panels(empty, empty, spacing=(5.0, 2.0, 1.0))
    assert plain.shape[:2] == (132, 66)


def test_a_flat_image_and_empty_masks_are_no_error():
    empty = np.zeros((2, 8, 8), np.uint8)
    plain, truth, _ = panels(empty, empty, image=np.full((1, 2, 8, 8), 7.0))
    assert np.array_equal(plain, truth)


def test_attention_is_hot_where_the_head_looked():
    """F88: on the case's own scale; a head that looked nowhere leaves the picture grey."""
    empty = np.zeros((1, 40, 40), np.uint8)
    weights = np.zeros((1, 40, 40), np.float32)
    weights[0, 2:10, 2:10] = 0.001
    drawn = panels(empty, empty, attention={"kind": weights, "none": np.zeros_like(weights)})
    image, looked, nowhere = drawn[0], drawn[3], drawn[4]
    assert pixels(looked[:40, :40], "yellow") > 300
    assert pixels(looked[60:], "yellow") == 0
    assert np.abs(nowhere - image).mean() < 2  # the compression loses a little
