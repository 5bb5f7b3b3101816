"""A trained planned U-Net with every feature taken several times: the same function, more weights.

Source: Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR
2016, equation 6, with every unit copied equally often.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

#: Copies differ by this share of a weight, so that training can part them.
_NOISE = 0.05


def widen(source: Path, target: Path, times: int, *, seed: int = 0) -> None:
    """Writes a model file whose network has `times` as many features in every layer.

    Args:
        source: a model without heads, written by `segduet train`.
        target: a model file to start a training from.
        times: copies of every feature.
        seed: of the noise.
    """
    noise = torch.Generator().manual_seed(seed)
    with safe_open(source, "pt") as file:
        header = file.metadata()
        wide = {name: widened(name, file.get_tensor(name), times) for name in file.keys()}  # noqa: SIM118
    for name, tensor in wide.items():
        if tensor.ndim > 1:
            wide[name] = tensor * (1 + _NOISE * torch.randn(tensor.shape, generator=noise))
    save_file(wide, target, metadata=header)


def widened(name: str, tensor: torch.Tensor, times: int) -> torch.Tensor:
    """One parameter of the wider network, without noise.

    Copies lie next to each other, so that features that the decoder joins stay in step. What reads
    copies adds them up: its weights are divided by their number.
    """
    is_output = ".seg_layers." in name
    if tensor.ndim == 1:
        return tensor.clone() if is_output else tensor.repeat_interleave(times, 0)
    reads, writes = (0, 1) if ".transpconvs." in name else (1, 0)
    wide = tensor
    if not is_output:
        wide = wide.repeat_interleave(times, writes)
    if not name.startswith("encoder.stages.0.0.convs.0."):  # which reads the image
        wide = wide.repeat_interleave(times, reads) / times
    return wide.contiguous()
