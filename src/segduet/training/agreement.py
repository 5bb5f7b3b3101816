"""Whether the processes of a training still have the same network."""

import hashlib
import json

import torch

from segduet.core.errors import TrainingError
from segduet.training.checkpoint import TrainingState
from segduet.training.processes import Processes
from segduet.training.tensors import unique_tensors


def require_equal_states(state: TrainingState, processes: Processes) -> None:
    """Checks that weights, balancer and random numbers are the same bits on all processes.

    They are computed everywhere alike; a machine that rounds differently, or failing memory, would
    otherwise train a network of its own.

    Raises:
        TrainingError: they are not; raised on every process.
    """
    if processes.size == 1:
        return
    marks = processes.gathered(_fingerprint(state))
    parted = [rank for rank, mark in enumerate(marks) if mark != marks[0]]
    if parted:
        raise TrainingError(
            f"training over {processes.size} processes, after epoch {state.epoch}",
            found=f"another network on rank {parted} than on rank 0",
            expected="the same bits on all",
            remedy="Use machines and GPUs of one kind and the same software on all; go on from the "
            "last checkpoint with --resume.",
        )


def _fingerprint(state: TrainingState) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(unique_tensors(state.network).items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    digest.update(json.dumps(state.balancer.state_dict(), sort_keys=True).encode())
    digest.update(_bytes(torch.get_rng_state()))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
