"""Image architectures of transformers, drawn at random from a configuration.

Options carry the names of the library's own configuration, with defaults for a CPU; any other key
of it may be given too. Size and channels of the images come from the data, unless asked otherwise.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from training.engine import pixels
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, transformers_models
from training.engine.students.image_options import Pixels

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Patches(Pixels):
    patch_size: int = option(
        0,
        minimum=0,
        maximum=256,
        help="Pixels a side of one patch; 0 for about an eighth of the image, so 64 patches.",
    )
    hidden_size: int = option(64, minimum=4, maximum=8192, label="Width", help="Of every layer.")
    num_hidden_layers: int = option(4, minimum=1, maximum=128, label="Layers", help="Blocks.")
    num_attention_heads: int = option(
        4, minimum=1, maximum=128, label="Heads", help="Must divide the width."
    )
    intermediate_size: int = option(
        128, minimum=4, maximum=65_536, label="Inner width", help="Two to four times the width."
    )


@dataclass(frozen=True, slots=True)
class Stages(Pixels):
    hidden_sizes: tuple[int, ...] = option(
        (32, 64, 128, 256), minimum=1, maximum=8192, label="Widths", help="Channels of each stage."
    )
    depths: tuple[int, ...] = option(
        (1, 1, 1, 1), minimum=1, maximum=128, help="Blocks of each stage, as many as widths."
    )


@dataclass(frozen=True, slots=True)
class Residual(Stages):
    embedding_size: int = option(32, minimum=1, maximum=4096, help="Channels of the first layer.")
    layer_type: str = option(
        "basic", choices=("basic", "bottleneck"), help="Two 3x3 layers, or 1x1, 3x3, 1x1."
    )


@dataclass(frozen=True, slots=True)
class Mobile(Pixels):
    depth_multiplier: float = option(
        0.5, minimum=0.1, maximum=4.0, label="Width", help="Channels, as a share of the paper's."
    )


class TransformersImage(Architecture):
    kind = "transformers"
    open = True
    tasks = ("image-classification",)
    recommended: ClassVar[JSON] = {"epochs": 10, "learning_rate": 1e-3}
    recommended_trained: ClassVar[JSON] = {"epochs": 4, "batch_size": 32, "learning_rate": 1e-4}
    derived: ClassVar[JSON] = {}  # settings that a small model of this type needs
    minimum: ClassVar[int] = 1  # pixels a side that its strides leave something of

    @classmethod
    def wished_pixels(cls, options: JSON) -> pixels.Wish:
        patch = int(options.get("patch_size") or 1)
        return pixels.Wish(
            size=options["image_size"],
            channels=int(options.get("num_channels") or 0),
            multiple=patch if cls.Options is Patches else 1,
            minimum=cls.minimum,
            square=True,
        )

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        values = {name: value for name, value in options.items() if name != "image_size"}
        if cls.Options is Patches and not values["patch_size"]:
            values["patch_size"] = _eighth(shape.height)
        if "hidden_sizes" in values:
            values["num_stages"] = len(values["hidden_sizes"])
        return transformers_models.build(
            cls.key,
            "image-classification",
            {
                **cls.derived,
                **values,
                "image_size": shape.height,
                "num_channels": shape.channels,
                "num_labels": shape.classes,
            },
        )


def _eighth(side: int) -> int:
    """The divisor of a side that is nearest to its eighth."""
    divisors = [one for one in range(1, side + 1) if side % one == 0]
    return min(divisors, key=lambda one: abs(one - side / 8))


class Convolutional(TransformersImage):
    channels_last = True
    minimum = 32


LABELS = {
    "beit": ("BEiT", "Bao et al., 2106.08254"),
    "bit": ("BiT", "Kolesnikov et al., 1912.11370"),
    "convnext": ("ConvNeXt", "Liu et al., 2201.03545"),
    "convnextv2": ("ConvNeXt V2", "Woo et al., 2301.00808"),
    "cvt": ("CvT", "Wu et al., 2103.15808"),
    "dinov2": ("DINOv2", "Oquab et al., 2304.07193"),
    "efficientnet": ("EfficientNet", "Tan, Le, 1905.11946"),
    "focalnet": ("FocalNet", "Yang et al., 2203.11926"),
    "mobilenet_v1": ("MobileNet V1", "Howard et al., 1704.04861"),
    "mobilenet_v2": ("MobileNet V2", "Sandler et al., 1801.04381"),
    "mobilevit": ("MobileViT", "Mehta, Rastegari, 2110.02178"),
    "poolformer": ("PoolFormer", "Yu et al., 2111.11418"),
    "pvt": ("PVT", "Wang et al., 2102.12122"),
    "pvt_v2": ("PVT V2", "Wang et al., 2106.13797"),
    "regnet": ("RegNet", "Radosavovic et al., 2003.13678"),
    "resnet": ("ResNet", "He et al., 1512.03385"),
    "swiftformer": ("SwiftFormer", "Shaker et al., 2303.15446"),
    "swinv2": ("Swin V2", "Liu et al., 2111.09883"),
    "vit": ("ViT", "Dosovitskiy et al., 2010.11929"),
}
REGNET = {"layer_type": "y", "embedding_size": 32, "groups_width": 16}
OPTIONS: dict[str, type] = {
    **dict.fromkeys(("vit", "beit", "dinov2"), Patches),
    **dict.fromkeys(("convnext", "convnextv2", "regnet"), Stages),
    "resnet": Residual,
    **dict.fromkeys(("mobilenet_v1", "mobilenet_v2"), Mobile),
}


def _declare(key: str) -> type[TransformersImage]:
    label, paper = LABELS[key]
    options = OPTIONS.get(key, Pixels)
    base = TransformersImage if options is Patches else Convolutional
    summary = f"{label} as transformers builds it, from any configuration, with random weights."
    return type(
        label.replace(" ", "") + "Image",
        (base,),
        {
            "key": key,
            "label": label,
            "summary": summary,
            "paper": paper,
            "shows": transformers_models.shows(key),
            "Options": options,
            "derived": REGNET if key == "regnet" else {},
            "__doc__": summary,
        },
    )


for _key in transformers_models.IMAGE:
    ARCHITECTURES.register(_declare(_key))
