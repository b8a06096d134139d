"""Small networks for pictures, one per family, written from their papers; each with an example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[nn.Module, tuple[Tensor, ...]]


def conv(
    given: int, made: int, size: int = 3, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    """Convolve, normalise, activate."""
    layers: list[nn.Module] = [
        nn.Conv2d(given, made, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(made),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class Vgg(nn.Sequential):
    """Simonyan and Zisserman 2015."""

    def __init__(self) -> None:
        features = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        more = [nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        super().__init__(*features, *more, nn.Linear(48, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 5))


class Squeeze(nn.Module):
    """Squeeze-and-excitation, Hu 2018, eq. 3."""

    def __init__(self, width: int, gate: type[nn.Module] = nn.Sigmoid) -> None:
        super().__init__()
        self.fc1, self.fc2, self.gate = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc2(torch.relu(self.fc1(functional.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """An inverted residual: MobileNetV2 (Sandler 2018), V3 (Howard 2019), EfficientNet's MBConv (Tan 2019)."""

    def __init__(self, width: int, act: type[nn.Module], squeeze: nn.Module | None = None) -> None:
        super().__init__()
        inner = 3 * width
        self.body = nn.Sequential(
            conv(width, inner, 1, act=act), conv(inner, inner, 3, groups=inner, act=act), squeeze or nn.Identity(),
            conv(inner, width, 1, act=None),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _mobile(act: type[nn.Module], gate: type[nn.Module] | None) -> nn.Module:
    squeeze = None if gate is None else Squeeze(24, gate)
    return nn.Sequential(
        conv(3, 8, 3, 2, act=act), Inverted(8, act, squeeze), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


class Dense(nn.Module):
    """A dense block and its transition, Huang 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(4 + 4 * i), nn.ReLU(), nn.Conv2d(4 + 4 * i, 4, 3, padding=1)) for i in range(3)
        )
        self.transition = nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.AvgPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.transition(x)


class Fire(nn.Module):
    """SqueezeNet's module, Iandola 2016."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.one, self.three = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(functional.max_pool2d(x, 3, 2, ceil_mode=True)))
        return torch.cat([torch.relu(self.one(x)), torch.relu(self.three(x))], 1)


class Inception(nn.Module):
    """GoogLeNet's module, Szegedy 2015, after LRN; one branch with a factorised 1x7, 7x1 of Inception-v3."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.one, self.three = (
            nn.LocalResponseNorm(5),
            conv(6, 4, 1),
            nn.Sequential(conv(6, 4, 1), conv(4, 6, 3)),
        )
        self.seven = nn.Sequential(nn.Conv2d(6, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (7, 1), padding=(3, 0)))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(6, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return torch.cat([self.one(x), self.three(x), self.seven(x), self.pool(x)], 1)


class UNet(nn.Module):
    """Ronneberger 2015: down, up by a transposed convolution, and the skip beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner, self.up = conv(3, 6), conv(6, 12), nn.ConvTranspose2d(12, 6, 2, 2)
        self.last, self.head = conv(12, 6), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        return self.head(self.last(torch.cat([skip, self.up(self.inner(functional.max_pool2d(skip, 2)))], 1)))


class Aspp(nn.Module):
    """DeepLab's pyramid of dilated convolutions, Chen 2017, enlarged bilinearly."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Conv2d(4, 4, 1), *(nn.Conv2d(4, 4, 3, padding=d, dilation=d) for d in (2, 3))]
        )
        self.pool, self.project = nn.Conv2d(4, 4, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.interpolate(self.pool(functional.adaptive_avg_pool2d(x, 1)), size=(8, 8), mode="bilinear")
        y = self.project(torch.cat([*(b(x) for b in self.branches), pooled], 1))
        return functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)


class ConvNext(nn.Module):
    """A block of Liu 2022: depthwise 7x7, layer norm over channels, two linear layers, a scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8, eps=1e-6)
        self.fc1, self.fc2, self.gamma = nn.Linear(8, 32), nn.Linear(32, 8), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.fc2(functional.gelu(self.fc1(y)))).permute(0, 3, 1, 2)


class SuperResolution(nn.Module):
    """ESPCN, Shi 2016: convolutions, then pixels out of channels; beside it a bicubic enlargement."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 9, 3, padding=1), nn.PixelShuffle(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + functional.interpolate(x, scale_factor=3, mode="bicubic")


class Autoencoder(nn.Sequential):
    """Strided down, transposed up with output padding, group and instance norms between."""

    def __init__(self) -> None:
        down = [nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.LeakyReLU(0.2), nn.Conv2d(8, 12, 3, 2, 1), nn.ELU()]
        up = [nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8)]
        super().__init__(*down, *up, nn.ConvTranspose2d(8, 3, 4, 2, 1, groups=1), nn.Hardtanh())


class Csp(nn.Module):
    """YOLOv5's C3 block and pyramid pooling: cross stage partial (Wang 2020), SiLU, nearest enlargement."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = (conv(8, 4, 1, act=nn.SiLU) for _ in range(3))
        self.inner = nn.Sequential(conv(4, 4, 1, act=nn.SiLU), conv(4, 4, 3, act=nn.SiLU))
        self.out = conv(12, 8, 1, act=nn.Mish)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        z = torch.cat([y + self.inner(y), self.cv2(x), functional.max_pool2d(self.cv3(x), 5, 1, 2)], 1)
        return functional.interpolate(self.out(z), scale_factor=2.0, mode="nearest")


class Shuffle(nn.Module):
    """ShuffleNet's channel shuffle (Zhang 2018) between grouped convolutions; reflection padding in front."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 8, 1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(functional.pad(x, (1, 1, 1, 1), mode="reflect"))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return functional.hardswish(self.second(x))


class Mixer(nn.Module):
    """MLP-Mixer, Tolstikhin 2021: one layer over tokens, one over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm1, self.norm2 = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16))
        self.channels = nn.Sequential(nn.Linear(8, 20), nn.GELU(), nn.Linear(20, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return (x + self.channels(self.norm2(x))).mean(1)


class VisionTransformer(nn.Module):
    """Dosovitskiy 2021: patches, a class token, positions, an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True, norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.encoder(x)[:, 0])


class Windows(nn.Module):
    """Swin's shifted windows, Liu 2021: roll, cut into windows, attend with a bias per offset, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out, self.bias = nn.Linear(8, 24), nn.Linear(8, 8), nn.Parameter(torch.randn(2, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        y = torch.roll(x, (-2, -1), (1, 2)).view(n, 2, 4, 2, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(n, 4, 16, 8)
        q, k, v = self.qkv(y).view(n, 4, 16, 3, 2, 4).permute(3, 0, 1, 4, 2, 5).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) / 2 + self.bias, -1)
        y = self.out((weights @ v).transpose(2, 3).reshape(n, 4, 16, 8))
        y = y.view(n, 2, 2, 4, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(n, 8, 8, 8)
        return x + torch.roll(y, (2, 1), (1, 2))


def _image(channels: int = 3, size: int = 16) -> tuple[Tensor, ...]:
    return (torch.randn(2, channels, size, size),)


VISION: dict[str, Callable[[], Pair]] = {
    "vgg": lambda: (Vgg(), _image()),
    "mobilenet_v2": lambda: (_mobile(nn.ReLU6, None), _image()),
    "mobilenet_v3": lambda: (_mobile(nn.Hardswish, nn.Hardsigmoid), _image()),
    "efficientnet": lambda: (_mobile(nn.SiLU, nn.Sigmoid), _image()),
    "densenet": lambda: (Dense(), _image(4, 8)),
    "squeezenet": lambda: (Fire(), _image(6, 9)),
    "inception": lambda: (Inception(), _image(6, 8)),
    "senet": lambda: (nn.Sequential(conv(3, 8), Squeeze(8)), _image()),
    "unet": lambda: (UNet(), _image()),
    "deeplab": lambda: (Aspp(), _image(4, 8)),
    "convnext": lambda: (ConvNext(), _image(8, 8)),
    "espcn": lambda: (SuperResolution(), _image(1, 6)),
    "autoencoder": lambda: (Autoencoder(), _image()),
    "yolo_csp": lambda: (Csp(), _image(8, 8)),
    "shufflenet": lambda: (Shuffle(), _image(8, 8)),
    "mlp_mixer": lambda: (Mixer(), _image()),
    "vit": lambda: (VisionTransformer(), _image()),
    "swin": lambda: (Windows(), (torch.randn(2, 8, 8, 8),)),
}
