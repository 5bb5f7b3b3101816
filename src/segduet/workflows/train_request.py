"""What a training is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from segduet.networks.joining import Donor
from segduet.training.config import Recipe
from segduet.training.launch import Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What to train.

    Attributes:
        name: first part of the run folder's name; None takes `segduet_<recipe name>`.
        pretrained: weights to start from: a stock nnU-Net checkpoint or our `model.safetensors`.
        pretrained_classifier: our model of a classifier trained apart, to be joined with the
            segmenter in `pretrained` (F26).
        shared_encoder_from: whose encoder a network with one shared encoder takes when two are
            joined; None for a network with a column for each.
        previous_stage: of a cascade, first part of the name of the first stage's model folder; None
            takes this training's own.
        resume: go on from the run folder's checkpoint.
        overwrite: start anew where the run folder already holds a training.
        until_epoch: stop, resumable, after this many epochs.
        launch: which of the processes that train together this one is; alone by default.
    """

    dataset: str
    configuration: str = "3d_fullres"
    fold: str = "0"
    recipe: Recipe = field(default_factory=Recipe)
    plans: str | None = None
    name: str | None = None
    device: str = "auto"
    workers: int = 1
    pretrained: Path | None = None
    pretrained_classifier: Path | None = None
    shared_encoder_from: Donor | None = None
    previous_stage: str | None = None
    resume: bool = False
    overwrite: bool = False
    until_epoch: int | None = None
    launch: Launch = field(default_factory=Launch)
