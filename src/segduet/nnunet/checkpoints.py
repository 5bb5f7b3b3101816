"""Stock nnU-Net checkpoints, read without running what a pickle might ask for (F52, B11)."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segduet.core.errors import DataError
from segduet.core.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class StockCheckpoint:
    """What a stock checkpoint says about a trained network.

    Attributes:
        weights: state dict, on the CPU.
        trainer_name: class name of the trainer.
        configuration: such as `3d_fullres`.
        plans: nnU-Net's plans.
        dataset_json: nnU-Net's dataset.json.
        mirror_axes: spatial axes predictions may be mirrored along; empty for none.
    """

    weights: "Mapping[str, Tensor]"
    trainer_name: str
    configuration: str
    plans: Mapping[str, Any]
    dataset_json: Mapping[str, Any]
    mirror_axes: tuple[int, ...]


def read_stock_checkpoint(path: Path) -> StockCheckpoint:
    """Reads a checkpoint that nnUNetTrainer wrote, tensors and plain types only.

    Raises:
        DataError: missing, damaged, not a stock checkpoint, or it refers to anything but tensors,
            numbers and plain types (such a file could run code; it is not opened further).
    """
    content = _load_plain(path)
    try:
        if not isinstance(content, dict):
            raise TypeError(f"entries: it holds one {type(content).__name__}")
        arguments = content["init_args"]
        return StockCheckpoint(
            weights={_bare(k): v for k, v in content["network_weights"].items()},
            trainer_name=content["trainer_name"],
            configuration=arguments["configuration"],
            plans=arguments["plans"],
            dataset_json=arguments["dataset_json"],
            mirror_axes=tuple(content.get("inference_allowed_mirroring_axes") or ()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            str(path),
            found=f"a file without {error}",
            expected="a checkpoint of nnU-Net 2.x (network_weights, init_args, trainer_name)",
            remedy="Give the checkpoint_*.pth of an nnU-Net fold folder.",
        ) from error


def _bare(key: str) -> str:
    """The key without what torch.compile and DataParallel put before it."""
    return key.removeprefix("module.").removeprefix("_orig_mod.")


def _load_plain(path: Path) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(
            str(path), found="no such file", expected="a checkpoint", remedy="Check the path."
        ) from error
    except pickle.UnpicklingError as error:
        raise DataError(
            str(path),
            found=f"a file that is no plain checkpoint ({_without_advice(error)})",
            expected="tensors, numbers and plain types",
            remedy="Do not use it if you do not trust its source; train or download it again.",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            str(path),
            found=f"a damaged file ({_first_line(error)})",
            expected="a checkpoint written by nnU-Net",
            remedy="Copy or download it again.",
        ) from error


def _without_advice(error: pickle.UnpicklingError) -> str:
    """What stopped torch; the rest of its message advises to load the file all the same."""
    met = [line.strip(" .") for line in str(error).splitlines() if "nsupported" in line]
    return met[0] if met else "unsupported content"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _numpy_globals() -> list[Any]:
    """nnU-Net logs numpy scalars; numpy has moved what rebuilds them between versions."""
    rebuild = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_)
    return [
        (rebuild, "numpy.core.multiarray.scalar"),
        (rebuild, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in kinds),
    ]


def write_stock_checkpoint(
    path: Path,
    *,
    weights: "Mapping[str, Tensor]",
    plans: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    configuration: str,
    fold: int | str,
    trainer_name: str = "nnUNetTrainer",
    mirror_axes: Sequence[int] = (),
) -> None:
    """Writes, atomically, a checkpoint that stock nnU-Net predicts with.

    Args:
        path: such as `fold_0/checkpoint_final.pth`.
        weights: state dict of the network that `plans` describes.
        plans: nnU-Net's plans.
        dataset_json: nnU-Net's dataset.json.
        configuration: such as `3d_fullres`.
        fold: number, or `all`.
        trainer_name: a trainer class that the reader's nnU-Net knows.
        mirror_axes: spatial axes predictions may be mirrored along.

    Raises:
        StorageError: the file could not be written.
    """
    import torch

    content = {
        "network_weights": {k: v.detach().cpu() for k, v in weights.items()},
        "init_args": {
            "plans": dict(plans),
            "configuration": configuration,
            "fold": fold,
            "dataset_json": dict(dataset_json),
        },
        "trainer_name": trainer_name,
        # nnU-Net fails on an empty sequence; None switches mirroring off.
        "inference_allowed_mirroring_axes": tuple(mirror_axes) or None,
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error)) from error
