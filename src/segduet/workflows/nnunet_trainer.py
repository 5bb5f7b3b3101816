"""The trainer that stock `nnUNetv2_train -tr nnUNetTrainerSegduet` finds through the shim (B11).

nnU-Net's own loop, sampling, augmentation and checkpoints; the network and the loss are ours. The
class loss uses the same evidence weights as `segduet train`.
"""

from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from segduet.balancing.protocol import SEGMENTATION, task_term
from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription, validated
from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.losses.classification import MISSING, build_classification_loss
from segduet.losses.config import ClassificationLossConfig
from segduet.networks.config import HeadConfig
from segduet.networks.joint import build_joint_network
from segduet.networks.stock_view import SegmentationView
from segduet.nnunet.store import PreparedStore

#: Weight of every class loss beside nnU-Net's segmentation loss, as in the default recipe.
TASK_WEIGHT = 0.1


class nnUNetTrainerSegduet(nnUNetTrainer):  # noqa: N801 - nnU-Net's naming
    """Joint segmentation and classification inside nnU-Net's own training."""
