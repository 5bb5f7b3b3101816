"""Weights a training starts from: a stock checkpoint, one of our models, or two joined."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from segduet.core.errors import RequestError
from segduet.networks.joining import join_pretrained
from segduet.networks.joint import JointNetwork
from segduet.networks.warm_start import WarmStartReport, load_matching
from segduet.nnunet.checkpoints import read_stock_checkpoint
from segduet.training.checkpoint import read_model
from segduet.workflows.train_request import TrainRequest


def pretrain(network: JointNetwork, request: TrainRequest) -> WarmStartReport | None:
    """Fills the network, in place, from what the request names; None where it names nothing.

    Raises:
        RequestError: a classifier without a segmenter to join it with, or an encoder's donor named
            where nothing is joined or for a network with two columns.
        DataError: a damaged file, or not one weight fits.
    """
    if request.pretrained and request.pretrained_classifier:
        return join_pretrained(
            network,
            _weights(request.pretrained),
            _weights(request.pretrained_classifier),
            shared_encoder_from=request.shared_encoder_from,
        )
    if request.pretrained_classifier or request.shared_encoder_from:
        raise RequestError(
            "segduet train",
            found="--pretrained-classifier or --shared-encoder-from without its partners",
            expected="both --pretrained (a segmenter) and --pretrained-classifier, to be joined",
            remedy="Give both, or --pretrained alone.",
        )
    return load_matching(network, _weights(request.pretrained)) if request.pretrained else None


def unmatched(report: WarmStartReport | None) -> list[str]:
    """One warning for every key on either side that found no partner."""
    if report is None:
        return []
    keys = [*report.missing, *report.unexpected, *report.wrong_shape]
    return [f"not taken from the pretrained weights: {key}" for key in keys]


def warm_start_record(report: WarmStartReport | None) -> dict[str, Any] | None:
    """The report as run.json holds it."""
    if report is None:
        return None
    return {
        "loaded": len(report.loaded),
        "missing": list(report.missing),
        "unexpected": list(report.unexpected),
        "wrong_shape": list(report.wrong_shape),
    }


def _weights(source: Path) -> Mapping[str, Tensor]:
    if source.name.endswith(".safetensors"):
        return read_model(source)[0]
    return read_stock_checkpoint(source).weights
