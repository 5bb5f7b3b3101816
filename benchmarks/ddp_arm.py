"""One training of ddp_equality.py, whose network starts a little moved or computes in float64.

Run by Python or torchrun: ddp_arm.py ROOT NAME --nudge SHARE --dtype DTYPE [--set KEY=VALUE]

The product trains in float32 or below. For float64 this file changes, in its own processes only,
what PyTorch makes by default and what `Tensor.float` gives, so that the same code computes in it.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segduet.core.folders import DataRoot
from segduet.training.launch import Launch
from segduet.training.recipe_files import load_recipe
from segduet.training.samples import PatchDataset
from segduet.workflows import training
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training_run import TrainingRun


def main() -> None:
    """Trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("name")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--configuration", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--nudge", type=float, required=True, help="first weights grow by this")
    parser.add_argument("--dtype", choices=("float32", "float64"), required=True)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    if arguments.dtype == "float64":
        _compute_in_float64()
    build = TrainingRun.build

    def build_altered(*given: object) -> TrainingRun:
        run = build(*given)  # type: ignore[arg-type]
        _alter(run.network, arguments.nudge, getattr(torch, arguments.dtype))
        return run

    training.TrainingRun.build = build_altered  # type: ignore[method-assign,assignment]
    request = TrainRequest(
        dataset=arguments.dataset,
        configuration=arguments.configuration,
        recipe=load_recipe(arguments.recipe, arguments.settings),
        name=arguments.name,
        device="cpu",
        workers=1,
        overwrite=True,
        launch=Launch.of(os.environ),
    )
    training.train(DataRoot.resolve(arguments.root, {}), request)


def _compute_in_float64() -> None:
    """All but augmentation, which is done in float32 as ever."""
    make = PatchDataset.__getitem__

    def make_in_float32(dataset: PatchDataset, index: int) -> Any:
        _set_float(torch.float32)
        try:
            return make(dataset, index)
        finally:
            _set_float(torch.float64)

    PatchDataset.__getitem__ = make_in_float32  # type: ignore[method-assign]
    _set_float(torch.float64)


def _set_float(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    torch.Tensor.float = lambda tensor: tensor.to(dtype)  # type: ignore[method-assign,assignment]


def _alter(network: nn.Module, nudge: float, dtype: torch.dtype) -> None:
    network.to(dtype)
    network.register_forward_pre_hook(lambda _, images: (images[0].to(dtype),))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + nudge)


if __name__ == "__main__":
    main()
