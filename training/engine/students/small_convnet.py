from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
from training.engine.students.image_options import Pixels


@dataclass(frozen=True, slots=True)
class Options(Pixels):
    channels: tuple[int, ...] = option(
        (32, 64), minimum=1, maximum=2048, help="Filters of each block; a block halves the image."
    )
    hidden: int = option(
        128,
        minimum=0,
        maximum=8192,
        help="Width of the layer before the last; 0 averages each channel over the image instead.",
    )
    dropout: float = option(0.2, minimum=0.0, maximum=0.95, help="Before the last layer.")


class Convnet(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 pooling, then one or two layers."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, height, width = shape.channels, shape.height, shape.width
        for channels in options.channels:
            layers += [
                nn.Conv2d(before, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            if min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            before = channels
        self.features = nn.Sequential(*layers)
        # A block ends with its pooling, or its ReLU where nothing is left to pool.
        ends = [
            place
            for place in range(len(layers))
            if place + 1 == len(layers) or isinstance(layers[place + 1], nn.Conv2d)
        ]
        self.points = tuple(f"features.{place}" for place in ends)
        self.middle: nn.Module
        if options.hidden:
            self.middle = nn.Sequential(
                nn.Flatten(), nn.Linear(before * height * width, options.hidden), nn.ReLU()
            )
            before = options.hidden
        else:
            self.middle = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(before, shape.classes)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: `[batch, channels, height, width]`, normalised."""
        logits: Tensor = self.head(self.dropout(self.middle(self.features(pixel_values))))
        return logits


@ARCHITECTURES.register
class SmallConvnet(Architecture):
    key = "small_convnet"
    label = "Small convnet"
    summary = "A few convolutions: small images on any CPU, from a thousand weights up."
    paper = "LeCun et al.: Gradient-Based Learning Applied to Document Recognition, 1998"
    tasks = ("image-classification",)
    default_for = ("image-classification",)
    sizes = (
        Size("tiny", "Tiny", 1_442, {"channels": [8, 16], "hidden": 0}),
        Size("small", "Small", 136_634, {"channels": [16, 32], "hidden": 64}),
        Size("teacher", "Teacher-size", 1_421_514, {"channels": [64, 128, 256], "hidden": 256}),
    )
    channels_last = True
    recommended: ClassVar[dict[str, Any]] = {"epochs": 8, "learning_rate": 2e-3}
    layers = "channels"
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return Convnet(opt.build(Options, options), shape)
