"""Published networks as PyTorch modules, written the usual way: one module for every unit, containers within containers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["densenet201", "mobilenet_v2", "resnet152", "vgg16"]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, and a shortcut."""

    def __init__(self, channels: int, maps: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, maps, 1, bias=False), nn.BatchNorm2d(maps)
        self.conv2, self.bn2 = nn.Conv2d(maps, maps, 3, stride, 1, bias=False), nn.BatchNorm2d(maps)
        self.conv3, self.bn3 = nn.Conv2d(maps, 4 * maps, 1, bias=False), nn.BatchNorm2d(4 * maps)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or channels != 4 * maps:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * maps, 1, stride, bias=False), nn.BatchNorm2d(4 * maps)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the unit."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """A ResNet of bottlenecks."""

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        channels, stages = 64, []
        for stage, depth in enumerate(depths):
            units = []
            for unit in range(depth):
                units.append(Bottleneck(channels, 64 << stage, 2 if stage and not unit else 1))
                channels = 256 << stage
            stages.append(nn.Sequential(*units))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the network."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet152() -> nn.Module:
    """ResNet-152."""
    return ResNet((3, 8, 36, 3))


class DenseLayer(nn.Module):
    """Normalisation, ReLU and convolution, twice, on everything before."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, before: list[torch.Tensor]) -> torch.Tensor:
        """Runs the layer."""
        x = self.conv1(self.relu1(self.norm1(torch.cat(before, 1))))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(nn.ModuleDict):
    """Layers that read all that the earlier ones made."""

    def __init__(self, depth: int, channels: int, growth: int) -> None:
        super().__init__({f"denselayer{i + 1}": DenseLayer(channels + i * growth, growth) for i in range(depth)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the block."""
        made = [x]
        for layer in self.values():
            made.append(layer(made))
        return torch.cat(made, 1)


class DenseNet(nn.Module):
    """A DenseNet."""

    def __init__(self, depths: tuple[int, ...], growth: int) -> None:
        super().__init__()
        channels = 64
        features: list[nn.Module] = [nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels)]
        features += [nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        for number, depth in enumerate(depths, start=1):
            features.append(DenseBlock(depth, channels, growth))
            channels += depth * growth
            features.append(nn.BatchNorm2d(channels))
            if number < len(depths):
                last, halved = features.pop(), channels // 2
                conv = nn.Conv2d(channels, halved, 1, bias=False)
                features.append(nn.Sequential(last, nn.ReLU(inplace=True), conv, nn.AvgPool2d(2)))
                channels = halved
        self.features, self.classifier = nn.Sequential(*features), nn.Linear(channels, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the network."""
        x = functional.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def densenet201() -> nn.Module:
    """DenseNet-201."""
    return DenseNet((6, 12, 48, 32), 32)


def _conv_bn(channels: int, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, maps, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(maps), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widens, filters every map alone, narrows."""

    def __init__(self, channels: int, maps: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = channels * factor
        layers: list[nn.Module] = [_conv_bn(channels, wide, 1)] if factor > 1 else []
        layers += [_conv_bn(wide, wide, 3, stride, wide), nn.Conv2d(wide, maps, 1, bias=False), nn.BatchNorm2d(maps)]
        self.conv, self.shortcut = nn.Sequential(*layers), stride == 1 and channels == maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the unit."""
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNet v2."""

    def __init__(self) -> None:
        super().__init__()
        channels, units = 32, [_conv_bn(3, 32, 3, 2)]
        stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
        for factor, maps, depth, stride in (*stages, (6, 320, 1, 1)):
            for unit in range(depth):
                units.append(InvertedResidual(channels, maps, 1 if unit else stride, factor))
                channels = maps
        self.features = nn.Sequential(*units, _conv_bn(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the network."""
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(self.features(x), 1), 1))


def mobilenet_v2() -> nn.Module:
    """MobileNet v2."""
    return MobileNetV2()


class VGG(nn.Module):
    """VGG-16."""

    def __init__(self) -> None:
        super().__init__()
        channels, features = 3, []
        for maps, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                features += [nn.Conv2d(channels, maps, 3, padding=1), nn.ReLU(inplace=True)]
                channels = maps
            features.append(nn.MaxPool2d(2))
        self.features, self.avgpool = nn.Sequential(*features), nn.AdaptiveAvgPool2d(7)
        head = [nn.Linear(512 * 49, 4096), nn.ReLU(inplace=True), nn.Dropout()]
        head += [nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000)]
        self.classifier = nn.Sequential(*head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the network."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg16() -> nn.Module:
    """VGG-16."""
    return VGG()
