"""F76: Ctrl-C ends a run at once and cleanly; finished cases are there, nothing half-written."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

_RUN = """
import signal, sys, threading, time
from pathlib import Path
import numpy as np
from segduet.core.geometry import Geometry
from segduet.core.prediction import Prediction
from segduet.core.volume import Volume
from segduet.inference.cohort import predict_cohort
from segduet.inference.case_input import CaseInput
from segduet.io.images import write_label_map

# what a shell starts in the background ignores Ctrl-C, and so would we
signal.signal(signal.SIGINT, signal.default_int_handler)
out = Path(sys.argv[1])
geometry = Geometry(shape_zyx=(2, 3, 4), spacing_zyx_mm=(1.0, 1.0, 1.0))

def read(paths):
    return Volume(array=np.zeros((1, 2, 3, 4), np.float32), geometry=geometry)

def predict(case, volume):
    if case == "c2":
        (out / "busy").touch()
        time.sleep(30)
    return Prediction(case=case, label_map=np.ones((2, 3, 4), np.uint8), geometry=geometry)

def write(prediction):
    write_label_map(out / f"{prediction.case}.nii.gz", prediction.label_map, geometry)

cases = [CaseInput(case=f"c{i}", image_paths=()) for i in range(6)]
done = []
try:
    for outcome in predict_cohort(cases, read=read, predict=predict, write=write):
        done.append(outcome.case)
except KeyboardInterrupt:
    print(",".join(done), threading.active_count())
    raise SystemExit(130)
"""


def test_ctrl_c_in_the_middle_of_a_case(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 40
    while not (tmp_path / "busy").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.split() == ["c0,c1", "1"], "both finished cases, and one thread: the main one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["busy", "c0.nii.gz", "c1.nii.gz"]
