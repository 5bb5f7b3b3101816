import subprocess
import sys

import numpy as np

import segduet
from segduet.core.files import read_csv
from segduet.io.images import read_image, read_label_map


def test_importing_segduet_stays_light():
    """B12: what `segduet.load` needs is imported when it is asked for."""
    code = "import sys, segduet; print('torch' in sys.modules, 'load' in segduet.__all__)"
    light = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert light.stdout.split() == ["False", "True"]


def test_python_gives_the_answers_of_the_command(road):
    """The Python API mirrors `segduet predict`."""
    volume = read_image([road.raw / "imagesTr" / "c6_0000.nii.gz"])
    loaded = segduet.load(road.model, device="cpu", mirrored=False)
    prediction = loaded.predict(volume, "c6")
    written = read_label_map(road.predictions / "c6.nii.gz")
    np.testing.assert_array_equal(prediction.label_map, written.array[0])
    _, rows = read_csv(road.predictions / "predictions.csv")
    row = next(r for r in rows if r["case"] == "c6")
    expected = [float(row["class:bright"]), float(row["class:dark"])]
    np.testing.assert_allclose(prediction.probabilities["class"], expected, atol=1e-6)
