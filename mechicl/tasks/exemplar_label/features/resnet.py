"""ResNet18 (He et al. 2015, 1512.03385) up to its last layer, with torchvision's parameter names.

torchvision itself must match the installed torch's build, which no single index promises; the network is these lines.
"""

from __future__ import annotations

from torch import Tensor, nn

# conv1.weight[0, 0, 0, :4] of torchvision's IMAGENET1K_V1: tells the trained network from a random one
IMAGENET_FIRST = (-0.010419, -0.0061356, -0.0018098, 0.074841)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int, out: int, stride: int):
        super().__init__()
        self.conv1: nn.Module = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(out)
        self.conv2: nn.Module = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride > 1 or width != out:
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet18(nn.Module):
    """[n, 3, s, s] -> [n, 512, s/32, s/32]."""

    def __init__(self):
        super().__init__()
        self.conv1: nn.Conv2d = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(64)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        widths = (64, 64, 128, 256, 512)
        for i in range(1, 5):
            first = BasicBlock(widths[i - 1], widths[i], 1 if i == 1 else 2)
            setattr(self, f"layer{i}", nn.Sequential(first, BasicBlock(widths[i], widths[i], 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return x
