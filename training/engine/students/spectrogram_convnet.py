from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from training.engine import options as opt
from training.engine import sounds
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
from training.engine.students.sound_options import Spectrograms


@dataclass(frozen=True, slots=True)
class Options(Spectrograms):
    channels: tuple[int, ...] = option(
        (24, 48, 60),
        minimum=1,
        maximum=2048,
        help="Filters of each block; a block halves bands and frames.",
    )
    bands: int = option(
        4,
        minimum=1,
        maximum=512,
        label="Kept bands",
        help="The last layer sees each channel's mean over time in so many bands.",
    )
    dropout: float = option(0.2, minimum=0.0, maximum=0.95, help="Before the last layer.")


class Convnet(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 pooling on a spectrogram, averaged over
    time but not over pitch, then one linear layer."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        points: list[str] = []
        before, bands, frames = 1, shape.mels, shape.frames
        for channels in options.channels:
            layers += [
                nn.Conv2d(before, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            if min(bands, frames) >= 2:
                layers.append(nn.MaxPool2d(2))
                bands, frames = bands // 2, frames // 2
            points.append(f"features.{len(layers) - 1}")
            before = channels
        self.features = nn.Sequential(*layers)
        self.points = tuple(points)
        kept = min(options.bands, bands)
        self.middle = nn.Sequential(nn.AdaptiveAvgPool2d((kept, 1)), nn.Flatten())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(before * kept, shape.classes)

    def forward(self, input_features: Tensor) -> Tensor:
        """input_features: `[batch, 1, mels, frames]`, standardised."""
        logits: Tensor = self.head(self.dropout(self.middle(self.features(input_features))))
        return logits


@ARCHITECTURES.register
class SpectrogramConvnet(Architecture):
    key = "spectrogram_convnet"
    label = "Spectrogram convnet"
    summary = "A few convolutions on the log-mel spectrogram: short sounds on any CPU."
    paper = "Sainath, Parada: Convolutional Neural Networks for Small-footprint Keyword Spotting, "
    paper += "Interspeech 2015"
    tasks = ("audio-classification",)
    default_for = ("audio-classification",)
    sizes = (
        Size("tiny", "Tiny", 4_258, {"channels": [8, 16, 16], "dropout": 0.0}),
        Size("small", "Small", 39_178, {"channels": [24, 48, 60]}),
        Size("teacher", "Teacher-size", 340_890, {"channels": [48, 96, 128, 160]}),
    )
    channels_last = True
    recommended: ClassVar[dict[str, Any]] = {"epochs": 40, "learning_rate": 3e-3}
    layers = "channels"
    Options: ClassVar[type] = Options

    @classmethod
    def wished_sounds(cls, options: dict[str, Any]) -> sounds.Wish:
        return sounds.Wish(
            features="log_mel",
            rate=options["sampling_rate"],
            seconds=options["seconds"],
            mels=options["mels"],
            window=options["window"] / 1000,
            hop=options["hop"] / 1000,
        )

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return Convnet(opt.build(Options, options), shape)
