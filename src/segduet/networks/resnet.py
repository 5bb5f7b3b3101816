"""ResNet-18 as an encoder (F23). B batch, C channels."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input is added back.

    Source: He et al. 2016, arXiv 1512.03385, figure 5 left; the shortcut is a 1 x 1 convolution
    where size or width change (option B).
    """

    def __init__(self, fan_in: int, fan_out: int, *, stride: int) -> None:
        """Builds the block; a `stride` of 2 halves the size in the first convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(fan_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or fan_in != fan_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(fan_in, fan_out, 1, stride=stride, bias=False), nn.BatchNorm2d(fan_out)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, fan_out, Y / stride, X / stride), sizes rounded up."""
        inner = torch.relu(self.bn1(self.conv1(features)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(features))


def _layer(fan_in: int, fan_out: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(fan_in, fan_out, stride=stride), BasicBlock(fan_out, fan_out, stride=1)
    )


class ResNet18Encoder(nn.Module):
    """The 18-layer residual network up to its last features, for any number of channels.

    Modules have torchvision's names, so that its weights load (its `fc` is the head's business
    here). Any image size works: pooling over what is left is the head's business too.

    Source: He et al. 2016, arXiv 1512.03385, table 1.

    Attributes:
        output_channels: features after the stem (half resolution) and after the four layers.
    """

    def __init__(self, num_channels: int) -> None:
        """Builds it for images of `num_channels` channels."""
        super().__init__()
        self.output_channels = [64, 64, 128, 256, 512]
        self.conv1 = nn.Conv2d(num_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _layer(64, 64, stride=1)
        self.layer2 = _layer(64, 128, stride=2)
        self.layer3 = _layer(128, 256, stride=2)
        self.layer4 = _layer(256, 512, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, rounded up.

        Args:
            image: (B, C, Y, X) float, any size.
        """
        features = [torch.relu(self.bn1(self.conv1(image)))]
        deeper = max_pool2d(features[0], 3, stride=2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            deeper = layer(deeper)
            features.append(deeper)
        return features
