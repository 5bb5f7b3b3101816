"""What `segduet predict` is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.inference.ensembles import EnsembleRule
from segduet.inference.shards import ALL_CASES, Shard
from segduet.workflows.calibrated_prediction import OWN_CALIBRATION, CalibrationChoice
from segduet.workflows.load_request import LoadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What to predict, with what, and how.

    Attributes:
        loading: which model, run how.
        inputs: one folder of images, image files, or one list or table of them.
        keep_features: write what each head read, `features_<task>.npz` with one vector per case.
        also: more models that answer together with the first, run alike.
        ensemble: how the probabilities of several models are averaged; None: arithmetically.
        cleanup: plan that mends the label maps; class answers stay what the networks said.
        calibration: which one the class answers are to have.
        shard: the share of the cases that this run predicts; a run of all of them that resumes
            puts the shards together.
        resume: go on where an earlier run stopped; cases that failed are tried again.
    """

    loading: LoadRequest
    inputs: Sequence[Path]
    out: Path
    keep_features: bool = False
    also: Sequence[Path] = ()
    ensemble: EnsembleRule | None = None
    cleanup: Path | None = None
    calibration: CalibrationChoice = OWN_CALIBRATION
    shard: Shard = ALL_CASES
    resume: bool = False
