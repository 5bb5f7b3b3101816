"""A joint network as nnU-Net's own trainer and predictor want to see it."""

from torch import Tensor, nn

from segduet.networks.joint import JointNetwork
from segduet.networks.outputs import TaskOutputs


class SegmentationView(nn.Module):
    """Shares the modules of a joint network; calling it gives the segmentation alone.

    nnU-Net flips and adds what a network returns and sets `decoder.deep_supervision`; both work
    here. State-dict keys equal the joint network's.
    """

    def __init__(self, network: JointNetwork) -> None:
        """Makes a view; nothing is copied."""
        super().__init__()
        assert network.decoder is not None, "nnU-Net trains networks that segment"
        self.encoder, self.decoder, self.heads = network.encoder, network.decoder, network.heads
        # In a tuple, so that the parameters are not registered a second time.
        self._network = (network,)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of the highest resolution, or the list of all where deep supervision is on.

        nnU-Net's contract, the one place where the answer has two types; the heads do not run.
        """
        logits: Tensor | list[Tensor] = self.decoder(self.encoder(image))
        return logits

    def joint(self, image: Tensor) -> TaskOutputs:
        """Both answers of the joint network."""
        outputs: TaskOutputs = self._network[0](image)
        return outputs


def segmentation_weights(network: JointNetwork) -> dict[str, Tensor]:
    """State dict of encoder and decoder under nnU-Net's names, on the CPU."""
    state = network.state_dict()
    return {k: v.cpu() for k, v in state.items() if k.startswith(("encoder.", "decoder."))}
