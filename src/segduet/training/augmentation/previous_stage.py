"""A previous stage's label map as input channels, disturbed so that it is not trusted blindly."""

from collections.abc import Sequence
from typing import Any

from segduet.training.augmentation.operations import sometimes


def previous_stage_operations(values: Sequence[int], *, p_per_value: float) -> list[Any]:
    """Moves the last map of `segmentation` to channels behind the image, one per value (F14).

    It has been resampled and mirrored with the label map by then. What is disturbed is dilated,
    eroded, opened or closed, or loses a connected component, each value apart.

    Args:
        values: foreground values, in the order of the channels.
        p_per_value: probability that a value is disturbed where a patch is; 0 leaves the channels
            as the previous stage decided.

    Source: get_training_transforms of nnUNetTrainer (0.5) and nnUNetTrainerDA5 (1), 2.8.1.
    """
    from batchgeneratorsv2.transforms.nnunet.random_binary_operator import (
        ApplyRandomBinaryOperatorTransform,
    )
    from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
        RemoveRandomConnectedComponentFromOneHotEncodingTransform,
    )
    from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform

    moved = MoveSegAsOneHotToDataTransform(source_channel_idx=1, all_labels=tuple(values))
    if p_per_value == 0:
        return [moved]
    # counted from the end; a list for each, since they shuffle it
    shaped = ApplyRandomBinaryOperatorTransform(
        channel_idx=list(range(-len(values), 0)), strel_size=(1, 8), p_per_label=p_per_value
    )
    thinned = RemoveRandomConnectedComponentFromOneHotEncodingTransform(
        channel_idx=list(range(-len(values), 0)),
        fill_with_other_class_p=0,
        dont_do_if_covers_more_than_x_percent=0.15,
        p_per_label=p_per_value,
    )
    return [moved, sometimes(shaped, 0.4), sometimes(thinned, 0.2)]
