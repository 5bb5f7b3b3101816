"""The two arms of a benchmark: which command each is, and what it was told (F85, F86, F75).

Options are those of `segduet predict` and `segduet.load`, by name, so that an option that is new
there needs no word here. The baseline takes over the candidate's options, then its own change them:
arms differ only in what was asked for.
"""

import inspect
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from segduet.core.errors import RequestError
from segduet.workflows.models import ModelFolder, open_model
from segduet.workflows.python_interface import load

#: An option of both kinds of arm: pin its processes to so many cores.
CORES = "cores"
NO_TTA = "no-tta"
_OPPOSITES = {
    "--no-tta": "--tta",
    "--body-crop": "--no-body-crop",
    "--fit-windows": "--no-fit-windows",
}
STOCK_COMMAND = "nnUNetv2_predict_from_modelfolder"
_NOT_TIMED = ("model", "mirrored", "keep_attention", "keep_features")


class ArmKind(StrEnum):
    """Whose command predicts."""

    SEGDUET = "segduet"
    NNUNET = "nnunet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side of the comparison.

    Attributes:
        model: model folder or bundle.
        options: name -> text as on the command line, `true` and `false` for flags.
        not_taken_over: options of the candidate that stock nnU-Net does not have.
        folds: of a stock arm, which checkpoints are averaged.
    """

    kind: ArmKind
    model: Path
    options: Mapping[str, str]
    not_taken_over: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()

    @property
    def cores(self) -> int | None:
        """Cores to pin to; None for all."""
        return int(self.options[CORES]) if CORES in self.options else None

    def command(self, images: Path, out: Path) -> list[str]:
        """The command line, from a fresh start to masks on disk.

        Args:
            images: folder of the cases, named as nnU-Net names them.
            out: folder for the answers.
        """
        if self.kind is ArmKind.NNUNET:
            return _stock_command(self, images, out)
        chosen = {k: v for k, v in self.options.items() if k != CORES}
        model, source = str(self.model), str(images)
        base = [sys.executable, "-m", "segduet", "predict", model, source, "--out", str(out)]
        return [*base, *(part for k, v in chosen.items() for part in _flag(f"--{k}", v))]


def parse_options(texts: Sequence[str], *, where: str) -> dict[str, str]:
    """`NAME=VALUE` or, of a flag, `NAME`, as name -> text.

    Args:
        texts: what the user wrote.
        where: the option they were written after, for messages.

    Raises:
        RequestError: no name, or the same name twice.
    """
    options: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().removeprefix("--").replace("_", "-")
        if not name or name in options:
            raise RequestError(
                f"{where} {text}",
                found="a name twice" if name else "no name",
                expected="NAME=VALUE, or NAME of a flag, each name once",
                remedy="Correct the option.",
            )
        options[name] = value.strip() if equals else "true"
    return options


def segduet_arm(model: Path, options: Mapping[str, str], *, where: str) -> Arm:
    """An arm that is `segduet predict`.

    Raises:
        RequestError: an option that prediction does not have, or a value that does not fit it.
    """
    load_arguments(options, where=where)
    return Arm(kind=ArmKind.SEGDUET, model=model, options=dict(options))


def stock_arm(
    model: Path, taken_over: Mapping[str, str], own: Mapping[str, str], *, where: str
) -> Arm:
    """An arm that is stock nnU-Net on the same model folder, with the same folds.

    Args:
        model: model folder, or one of its folds.
        taken_over: the candidate's options; those nnU-Net lacks are noted and left out.
        own: the baseline's own options.
        where: the option they were written after, for messages.

    Raises:
        RequestError: nnunetv2 is not installed, an option it does not have, no stock checkpoint of
            a fold, or the second stage of a cascade, for which nnU-Net needs two commands.
        DataError: a checkpoint is damaged, or could run code.
    """
    known = ("checkpoint", "device", "folds", NO_TTA, "step", CORES)
    _refuse_unknown(own, known, where)
    if shutil.which(STOCK_COMMAND, path=sysconfig.get_path("scripts")) is None:
        raise RequestError(
            "--against nnunet",
            found=f"no {STOCK_COMMAND} beside this Python",
            expected="nnunetv2 2.8, whose command is the baseline",
            remedy='Install it with pip install "segduet[train]", or bench against a model.',
        )
    shared = {k: v for k, v in taken_over.items() if k in known}
    arm = Arm(
        kind=ArmKind.NNUNET,
        model=model,
        options={**shared, **own},
        not_taken_over=tuple(f"{k}={v}" for k, v in taken_over.items() if k not in known),
    )
    load_arguments({k: v for k, v in arm.options.items() if k != "checkpoint"}, where=where)
    return _with_checked_checkpoints(arm)


def load_arguments(options: Mapping[str, str], *, where: str) -> dict[str, Any]:
    """The options as keyword arguments of `segduet.load`.

    Args:
        options: as in `Arm.options`.
        where: the option they were written after, for messages.

    Raises:
        RequestError: a name that `load` does not have, or a value that does not fit it.
    """
    parameters = inspect.signature(load).parameters
    hints = {n.replace("_", "-"): p.annotation for n, p in parameters.items()}
    known = [n for n, p in zip(hints, parameters, strict=True) if p not in _NOT_TIMED]
    _refuse_unknown(options, (*known, NO_TTA, CORES), where)
    arguments: dict[str, Any] = {}
    for name, text in options.items():
        if name == CORES:
            usable = len(os.sched_getaffinity(0))
            _converted(Annotated[int, Field(ge=1, le=usable)], name, text, where)
        elif name == NO_TTA:
            arguments["mirrored"] = not _converted(bool, name, text, where)
        elif name == "folds":
            arguments["folds"] = [fold.strip() for fold in text.split(",")]
        else:
            arguments[name.replace("-", "_")] = _converted(hints[name], name, text, where)
    return arguments


def stock_settings(arm: Arm) -> dict[str, Any]:
    """What nnU-Net's predictor is told, as keyword arguments of `StockPredictor.load`."""
    options = arm.options
    return {
        "folds": list(arm.folds),
        "checkpoint_name": options.get("checkpoint", "checkpoint_final.pth"),
        "mirrored": options.get(NO_TTA, "false") == "false",
        "step": float(options.get("step", "0.5")),
        "device": _stock_device(options.get("device", "auto")),
    }


def _stock_command(arm: Arm, images: Path, out: Path) -> list[str]:
    told = stock_settings(arm)
    program = shutil.which(STOCK_COMMAND, path=sysconfig.get_path("scripts"))
    assert program is not None, "checked when the arm was made"
    base = [program, "-i", str(images), "-o", str(out), "-m", str(arm.model)]
    base += ["-f", *told["folds"], "-chk", told["checkpoint_name"], "-device", told["device"]]
    base += ["-step_size", str(told["step"])]
    return base if told["mirrored"] else [*base, "--disable_tta"]


def _with_checked_checkpoints(arm: Arm) -> Arm:
    """The arm with its folds; each checkpoint is read once by a reader that runs nothing in it.

    nnU-Net's own reader runs what a checkpoint asks for.
    """
    from segduet.nnunet.checkpoints import read_stock_checkpoint
    from segduet.nnunet.model_folder import StockModelFolder

    wanted = load_arguments({k: v for k, v in arm.options.items() if k == "folds"}, where="")
    opened: ModelFolder = open_model(arm.model, wanted.get("folds"))
    if opened.configuration.previous_stage is not None:
        raise RequestError(
            f"{arm.model}, --against nnunet",
            found="the second stage of a cascade",
            expected="a model that nnU-Net predicts with in one command",
            remedy="Bench against another model or other options instead.",
        )
    name = arm.options.get("checkpoint", "checkpoint_final.pth")
    stock = StockModelFolder.open(opened.folder, name)
    folds = tuple(opened.fold_files)
    for fold in folds:
        read_stock_checkpoint(stock.checkpoint(fold))
    return Arm(
        kind=arm.kind,
        model=opened.folder,
        options=arm.options,
        not_taken_over=arm.not_taken_over,
        folds=folds,
    )


def _stock_device(device: str) -> str:
    if device != "auto":
        return device
    from segduet.training.devices import choose_compute

    return str(choose_compute(device, "fp32").device.type)


def _flag(name: str, value: str) -> list[str]:
    if value == "false":
        return [_OPPOSITES[name]] if name in _OPPOSITES else []
    return [name] if value == "true" else [name, value]


def _refuse_unknown(options: Mapping[str, str], known: Sequence[str], where: str) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise RequestError(
            f"{where} {unknown[0]}",
            found="no such option of this arm",
            expected=f"one of {sorted(known)}",
            remedy="Correct the name; they are those of `segduet predict`.",
        )


def _converted(hint: Any, name: str, text: str, where: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(text)
    except ValidationError as error:
        raise RequestError(
            f"{where} {name}={text}",
            found=repr(text),
            expected=str(error.errors()[0]["msg"]),
            remedy="Correct the value.",
        ) from error
