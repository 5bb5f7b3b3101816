"""What a model's header keeps of its network, so that it can be built again."""

from pydantic import BaseModel, ConfigDict

from segduet.networks.backbone_config import BackboneConfig, PlannedConfig
from segduet.networks.config import HeadConfig


class NetworkRecord(BaseModel):
    """The choices behind a network; plan and tasks say the rest.

    Attributes:
        head: kind and options of the heads.
        network: what carries them.
        with_masks: whether there is a decoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: HeadConfig = HeadConfig()
    network: BackboneConfig = PlannedConfig()
    with_masks: bool = True
