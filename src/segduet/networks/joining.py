"""Two networks trained apart, one per task, joined into one (F26)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from segduet.core.errors import DataError, RequestError
from segduet.networks.soft_quickfcn import SoftQuickFCNEncoder
from segduet.networks.warm_start import WarmStartReport, is_backbone_kernel, load_matching

Donor = Literal["segmentation", "classification"]


def join_pretrained(
    network: nn.Module,
    segmentation_weights: Mapping[str, Tensor],
    classification_weights: Mapping[str, Tensor],
    *,
    shared_encoder_from: Donor | None = None,
) -> WarmStartReport:
    """Fills a joint network, in place, from a segmenter and a classifier trained apart.

    With soft sharing each encoder goes into its own column; with identity stitches the joint
    network then answers exactly as the two did. With hard sharing one donor gives the encoder. The
    decoder comes from the segmenter, all that is neither encoder nor decoder (the heads) from the
    classifier.

    Args:
        network: with `encoder`, and state-dict names `encoder.*`, `decoder.*` and heads.
        segmentation_weights: state dict of a network with the same names but a single column.
        classification_weights: the same; a decoder in it is not used.
        shared_encoder_from: whose encoder a hard-sharing network takes; None for soft sharing.

    Returns:
        A report that accounts for every key of the network and of both donors; `unexpected` holds
        the donors' keys that have no place, as `segmentation: KEY` or `classification: KEY`, and
        `missing` the keys that keep their own values, such as the stitches.

    Raises:
        RequestError: the shared encoder's donor is not named, or named for soft sharing.
        DataError: not one weight of a donor has a place, or no kernel has the right shape.
    """
    prefixes = _encoder_prefixes(network, shared_encoder_from)
    own = network.state_dict()
    offered: dict[str, Tensor] = {}
    unused: list[str] = []
    donors: tuple[tuple[Donor, Mapping[str, Tensor]], ...] = (
        ("segmentation", segmentation_weights),
        ("classification", classification_weights),
    )
    for donor, weights in donors:
        places = {key: _place(key, donor, prefixes[donor]) for key in weights}
        used = {key: place for key, place in places.items() if place in own}
        _require_some(donor, places, used)
        _require_same_size(donor, {place: weights[key] for key, place in used.items()}, own)
        offered |= {place: weights[key] for key, place in used.items()}
        unused += [f"{donor}: {key}" for key in places if key not in used]
    return replace(load_matching(network, offered), unexpected=tuple(unused))


def _encoder_prefixes(network: nn.Module, shared_from: Donor | None) -> dict[Donor, str]:
    """Where each donor's encoder goes; empty for an encoder that is not taken."""
    is_soft = isinstance(network.get_submodule("encoder"), SoftQuickFCNEncoder)
    if is_soft != (shared_from is None):
        raise RequestError(
            "joining, shared_encoder_from",
            found=repr(shared_from),
            expected="nothing, as each column has its own encoder"
            if is_soft
            else "'segmentation' or 'classification', as there is one encoder for both tasks",
            remedy="Leave the option out." if is_soft else "Name the network that gives it.",
        )
    if is_soft:
        return {"segmentation": "encoder.for_masks.", "classification": "encoder.for_cases."}
    return {
        "segmentation": "encoder." if shared_from == "segmentation" else "",
        "classification": "encoder." if shared_from == "classification" else "",
    }


def _place(key: str, donor: Donor, encoder_prefix: str) -> str:
    """Name in the joint network; empty for none."""
    if key.startswith("encoder."):
        return encoder_prefix + key.removeprefix("encoder.") if encoder_prefix else ""
    if key.startswith("decoder.encoder.") and not encoder_prefix:
        return ""  # planned decoders hold the encoder a second time
    return key if key.startswith("decoder.") == (donor == "segmentation") else ""


def _require_some(donor: Donor, places: Mapping[str, str], used: Mapping[str, str]) -> None:
    if not used:
        raise DataError(
            f"joining, {donor} weights",
            found=f"{len(places)} weights, none of which has a place; first {list(places)[:3]}",
            expected="the weights of a network of the same kind and size",
            remedy=f"Give the model that was trained for {donor} with the same backbone options.",
        )


def _require_same_size(
    donor: Donor, offered: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    kernels = [key for key, weight in offered.items() if is_backbone_kernel(key, weight)]
    if kernels and all(offered[key].shape != own[key].shape for key in kernels):
        first = kernels[0]
        raise DataError(
            f"joining, {donor} weights",
            found=f"{len(kernels)} kernels, none of which fits; {first!r} would be of the shape "
            f"{tuple(offered[first].shape)}",
            expected=f"the size of this network, there {tuple(own[first].shape)}",
            remedy=f"Give the model that was trained for {donor} with the same backbone options.",
        )
