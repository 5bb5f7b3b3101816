"""One encoder pass, two answers. B batch, C image channels."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.tasks import TaskSpec
from segduet.networks.backbone_config import BackboneConfig, PlannedConfig
from segduet.networks.backbones import build_backbone
from segduet.networks.config import HeadConfig
from segduet.networks.decoding import decode
from segduet.networks.evidence import EvidenceRegion
from segduet.networks.features import EncodedFeatures
from segduet.networks.heads.head import Head, build_head
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs
from segduet.networks.outputs import HeadAnswer, TaskOutputs


def head_key(task: str) -> str:
    """Key of a task's head in `JointNetwork.heads`.

    A module may be called neither `type` nor `a.b`, which are fair names for a task.
    """
    return "task:" + task.replace("%", "%25").replace(".", "%2E")


class JointNetwork(nn.Module):
    """An encoder, a decoder unless it only classifies, and a head for every case-level task.

    `encoder` and `decoder` of a planned U-Net carry the stock network's state-dict names, so its
    weights load here and ours load there; the heads are under `heads`.

    Attributes:
        isolate_heads: whether the heads see features without a way back for the gradient, so that
            the class losses train the heads alone (F35).
    """

    encoder: nn.Module
    decoder: nn.Module | None
    heads: nn.ModuleDict

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module | None,
        *,
        heads: Mapping[str, Head],
        regions: Mapping[str, EvidenceRegion],
    ) -> None:
        """Takes over the parts; `heads` and `regions` are keyed by task name."""
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.heads = nn.ModuleDict({head_key(task): head for task, head in heads.items()})
        self.isolate_heads = False
        self._regions = dict(regions)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the case-level tasks, in the order they were declared."""
        return tuple(self._regions)

    @property
    def deep_supervision(self) -> bool:
        """Whether `segmentation` also holds the lower resolutions; training wants it."""
        decoder: Any = self.decoder
        return decoder is not None and bool(decoder.deep_supervision)

    @deep_supervision.setter
    def deep_supervision(self, enabled: bool) -> None:
        """Switches the lower resolutions on or off, as nnU-Net does through the decoder.

        A network that only classifies has none and stays as it is.
        """
        decoder: Any = self.decoder
        if decoder is not None:
            decoder.deep_supervision = enabled

    def forward(self, image: Tensor, shares: Tensor | None = None) -> TaskOutputs:
        """Both answers for a batch of windows; the encoder runs once.

        Args:
            image: (B, C, *spatial) float; every axis a multiple of the encoder's total stride.
            shares: (B, 1, *spatial) float32 in [0, 1], each voxel's share of this window in its
                case; None means that every window stands alone.
        """
        segmentation, inputs = self._features(image, shares)
        sums: dict[str, Tensor] = {}
        answers: dict[str, HeadAnswer] = {}
        for task, given in inputs.items():
            head = self._head(task)
            sums[task] = head.sums(given.detached() if self.isolate_heads else given)
            answers[task] = head.explained(sums[task])
        return TaskOutputs(
            segmentation=segmentation,
            case_logits={task: answer.logits for task, answer in answers.items()},
            evidence={task: given.evidence() for task, given in inputs.items()},
            case_sums=sums,
            case_features={task: answer.features for task, answer in answers.items()},
        )

    def answer(self, sums: Mapping[str, Tensor]) -> dict[str, HeadAnswer]:
        """Answers of every task from sums (B, S) of windows or of whole cases."""
        return {task: self._head(task).explained(sums[task]) for task in self._regions}

    def attend(
        self, image: Tensor, shares: Tensor, case_sums: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """How much of each answer rests on each voxel of a window.

        Args:
            image: (B, C, *spatial) float.
            shares: (B, 1, *spatial) float32 in [0, 1].
            case_sums: task name -> (B, S), sums of all windows of the case.

        Returns:
            Task name -> (B, 1, *spatial) float32 >= 0 that sums to 1 over the case; only of heads
            that attend.
        """
        _, inputs = self._features(image, shares)
        weights = {t: self._head(t).attention(g, case_sums[t]) for t, g in inputs.items()}
        return {task: w for task, w in weights.items() if w is not None}

    def _features(
        self, image: Tensor, shares: Tensor | None
    ) -> tuple[tuple[Tensor, ...], dict[str, HeadInputs]]:
        """Segmentation logits, and what each head may look at; regions are worked out once."""
        encoded = self.encoder(image)
        if not isinstance(encoded, EncodedFeatures):
            encoded = EncodedFeatures.shared(encoded)
        segmentation, decoded = self._decode(encoded.for_masks)
        if shares is None:
            shares = image.new_ones((len(image), 1, *image.shape[2:]), dtype=torch.float32)
        maps = self._region_maps(segmentation)
        return segmentation, {
            task: HeadInputs(
                stages=encoded.for_cases, decoded=decoded, region=maps.get(region), weights=shares
            )
            for task, region in self._regions.items()
        }

    def _decode(self, skips: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor | None]:
        return ((), None) if self.decoder is None else decode(self.decoder, skips)

    def _region_maps(self, segmentation: tuple[Tensor, ...]) -> dict[EvidenceRegion, Tensor]:
        if not segmentation:
            return {}
        distinct = dict.fromkeys(self._regions.values())
        return {region: region.probability(segmentation[0]) for region in distinct}

    def _head(self, task: str) -> Head:
        return cast(Head, self.heads[head_key(task)])


def build_joint_network(
    *,
    configuration: ConfigurationPlan,
    num_channels: int,
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    head: HeadConfig,
    deep_supervision: bool,
    backbone: BackboneConfig | None = None,
    with_masks: bool = True,
) -> JointNetwork:
    """The chosen network for a plan's configuration, with one head of the chosen kind per task.

    Weights come from torch's global generator, the backbone's before the heads': under one seed a
    planned U-Net starts as nnU-Net's would.

    Args:
        configuration: patch, architecture and so on.
        num_channels: image channels.
        labels: what the label map means; decides the segmentation channels.
        tasks: the case-level tasks; none gives a network that only segments.
        head: kind and options of the heads.
        deep_supervision: whether to start with deep supervision on.
        backbone: what carries the heads; None is the network the plan names.
        with_masks: whether to keep the decoder; without it the network only classifies.

    Raises:
        DataError: a class or argument in the plan that is not allowed, or an evidence region the
            dataset does not have.
        RequestError: a head option the network cannot serve, or a network that does not suit the
            plan.
    """
    regions = {task.name: EvidenceRegion.of_task(task, labels) for task in tasks}
    parts = build_backbone(
        backbone or PlannedConfig(),
        configuration=configuration,
        num_channels=num_channels,
        num_outputs=labels.num_segmentation_heads,
        deep_supervision=deep_supervision,
    )
    decoder = parts.decoder if with_masks else None
    widths = offered_widths(parts.encoder, decoder)
    heads = {task.name: build_head(head, widths, task.num_outputs) for task in tasks}
    return JointNetwork(parts.encoder, decoder, heads=heads, regions=regions)


def offered_widths(encoder: nn.Module, decoder: nn.Module | None) -> FeatureWidths:
    """What an encoder (by its `output_channels`) and a decoder offer the heads."""
    stages = tuple(cast(Any, encoder).output_channels)
    return FeatureWidths(stages=stages, decoder=None if decoder is None else stages[0])
