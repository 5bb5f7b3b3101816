"""Options that several commands share."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from segduet.core.folders import DataRoot

DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder with nnUNet_raw, nnUNet_preprocessed and nnUNet_results. "
        "[default: nnU-Net's environment variables, else ./segduet-data]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Processes to use.", show_default="one per core"),
]
PlansOption = Annotated[
    str | None, typer.Option("--plans", help="Plans name, where a dataset has several.")
]
DatasetArgument = Annotated[
    str, typer.Argument(help="Dataset: full name, number or short name.", metavar="DATASET")
]


class EngineChoice(StrEnum):
    """What can run a network."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNX = "onnx"
    TENSORRT = "tensorrt"


class PrecisionChoice(StrEnum):
    """Number formats a network can be run in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


def data_root(option: Path | None) -> DataRoot:
    """The three folders an option or the environment names."""
    return DataRoot.resolve(option, os.environ)


def num_workers(option: int | None) -> int:
    """The option, or the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if option is None else option


def split_names(option: str | None) -> list[str] | None:
    """Names of a comma separated option; None where it was not given."""
    return [name.strip() for name in option.split(",")] if option else None
