import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
from training.engine.students.image_options import Pixels


@dataclass(frozen=True, slots=True)
class Options(Pixels):
    hidden: tuple[int, ...] = option(
        (128,), minimum=1, maximum=16_384, help="Width of each layer before the last."
    )
    dropout: float = option(0.1, minimum=0.0, maximum=0.95, help="After each of these layers.")


class MLP(nn.Module):
    """The image as one long row of numbers, through plain layers."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        widths = [shape.channels * shape.height * shape.width, *options.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(options.dropout)]
        self.layers = nn.Sequential(*layers)
        self.points = tuple(f"layers.{place}" for place in range(2, len(layers), 3))
        self.head = nn.Linear(widths[-1], shape.classes)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: `[batch, channels, height, width]`, normalised."""
        logits: Tensor = self.head(self.layers(pixel_values))
        return logits


@ARCHITECTURES.register
class MLPArchitecture(Architecture):
    key = "mlp"
    label = "MLP"
    summary = "Plain layers on the flattened image: the simplest network there is."
    paper = "Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986"
    tasks = ("image-classification",)
    sizes = (
        Size("tiny", "Tiny", 16_570, {"hidden": [16]}),
        Size("small", "Small", 132_490, {"hidden": [128]}),
        Size("teacher", "Teacher-size", 792_586, {"hidden": [512, 512]}),
    )
    layers = "hidden"
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return MLP(opt.build(Options, options), shape)
