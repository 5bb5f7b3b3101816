"""One encoder pass, two answers. B batch, C image channels."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.tasks import TaskSpec
from segduet.networks.config import HeadConfig
from segduet.networks.decoding import decode
from segduet.networks.evidence import EvidenceRegion
from segduet.networks.heads import HEADS, HeadInputs
from segduet.networks.outputs import TaskOutputs
from segduet.networks.registry import build_unet


def head_key(task: str) -> str:
    """Key of a task's head in `JointNetwork.heads`.

    A module may be called neither `type` nor `a.b`, which are fair names for a task.
    """
    return "task:" + task.replace("%", "%25").replace(".", "%2E")


class JointNetwork(nn.Module):
    """A planned U-Net with a head for every case-level task.

    `encoder` and `decoder` carry the stock network's state-dict names, so its weights load here
    and ours load there; the heads are under `heads`.

    Attributes:
        isolate_heads: whether the heads see features without a way back for the gradient, so that
            the class losses train the heads alone (F35).
    """

    encoder: nn.Module
    decoder: nn.Module
    heads: nn.ModuleDict

    def __init__(
        self, unet: nn.Module, heads: dict[str, nn.Module], regions: dict[str, EvidenceRegion]
    ) -> None:
        """Takes over the parts of a U-Net; `heads` and `regions` are keyed by task name."""
        super().__init__()
        parts: Any = unet
        self.encoder, self.decoder = parts.encoder, parts.decoder
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
        return bool(decoder.deep_supervision)

    @deep_supervision.setter
    def deep_supervision(self, enabled: bool) -> None:
        """Switches the lower resolutions on or off, as nnU-Net does through the decoder."""
        decoder: Any = self.decoder
        decoder.deep_supervision = enabled

    def forward(self, image: Tensor) -> TaskOutputs:
        """Both answers for a batch of windows; the encoder runs once.

        Args:
            image: (B, C, *spatial) float; every axis a multiple of the encoder's total stride.
        """
        skips = tuple(self.encoder(image))
        segmentation, decoded = decode(self.decoder, skips)
        maps = {r: r.probability(segmentation[0]) for r in dict.fromkeys(self._regions.values())}
        case_logits: dict[str, Tensor] = {}
        for task, region in self._regions.items():
            inputs = HeadInputs(skips=skips, decoded=decoded, region=maps[region])
            head = self.heads[head_key(task)]
            case_logits[task] = head(inputs.detached() if self.isolate_heads else inputs).float()
        voxels = {r: (m.detach() > 0.5).flatten(1).sum(1).float() for r, m in maps.items()}
        evidence = {task: voxels[region] for task, region in self._regions.items()}
        return TaskOutputs(segmentation=segmentation, case_logits=case_logits, evidence=evidence)


def build_joint_network(
    *,
    configuration: ConfigurationPlan,
    num_channels: int,
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    head: HeadConfig,
    deep_supervision: bool,
) -> JointNetwork:
    """The network of a plan's configuration, with one head of the chosen kind per task.

    Weights come from torch's global generator, the U-Net's before the heads': under one seed the
    U-Net starts as nnU-Net's would.

    Args:
        configuration: patch, architecture and so on.
        num_channels: image channels.
        labels: what the label map means; decides the segmentation channels.
        tasks: the case-level tasks; none gives the stock network in our record.
        head: kind and options of the heads.
        deep_supervision: whether to start with deep supervision on.

    Raises:
        DataError: a class or argument in the plan that is not allowed, or an evidence region the
            dataset does not have.
        RequestError: a head option the network cannot serve.
    """
    regions = {task.name: EvidenceRegion.of_task(task, labels) for task in tasks}
    unet: Any = build_unet(
        configuration.architecture,
        num_channels=num_channels,
        num_outputs=labels.num_segmentation_heads,
        deep_supervision=deep_supervision,
    )
    widths = tuple(unet.encoder.output_channels)
    build_head = HEADS[head.kind]
    heads: dict[str, nn.Module] = {
        task.name: build_head(head, widths=widths, num_classes=len(task.classes)) for task in tasks
    }
    return JointNetwork(unet, heads, regions)
