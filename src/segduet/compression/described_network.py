"""What every converter states of the network it converts."""

from collections.abc import Sequence

from segduet.core.runtime import ConvertedNetwork, RuntimeFormat, StoredPrecision
from segduet.core.tasks import TaskSpec
from segduet.networks.joint import JointNetwork


def describe_fp32(
    network: JointNetwork,
    tasks: Sequence[TaskSpec],
    *,
    runtime: RuntimeFormat,
    windows_file: str,
    heads_file: str,
    total_strides: tuple[int, ...],
) -> ConvertedNetwork:
    """The record of a network that is about to be converted in fp32.

    Args:
        network: in evaluation mode, deep supervision off, which our own code has seen to.
        tasks: what the network answers, in its own order; without one there is no file of heads.
        total_strides: of the network, one per spatial axis, see `export_views.total_strides`.
    """
    assert not network.training, "not in evaluation mode"
    assert not network.deep_supervision, "would give more than one resolution"
    assert tuple(task.name for task in tasks) == network.tasks, (tasks, network.tasks)
    return ConvertedNetwork(
        format=runtime,
        stored_precision=StoredPrecision.FP32,
        windows_file=windows_file,
        heads_file=heads_file if tasks else None,
        tasks=tuple(tasks),
        with_masks=network.decoder is not None,
        num_spatial_dims=len(total_strides),
        total_strides=total_strides,
    )
