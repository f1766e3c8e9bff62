from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class ResNetToMobileNet(Preset):
    key = "resnet_to_mobilenet"
    family = "whole"
    rank = 1
    label = "ResNet to MobileNet"
    summary = "Soft targets and attention transfer, with pictures moved and mirrored."
    when = "For a large convnet as teacher and a small one as student; begin with fresh weights."
    warning = "Attention between unlike convnets can hurt: compare with soft targets alone."
    paper = "Zagoruyko, Komodakis: Paying More Attention to Attention, 1612.03928, section 4.1"
    tasks = ("image-classification",)
    losses = (
        {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
        {"kind": "hard_labels", "weight": 0.1, "label_smoothing": 0.0},
        {"kind": "attention_maps", "weight": 100.0, "form": "attention_transfer", "layers": "last"},
    )
    training: ClassVar[JSON] = {"augmentation": "light"}
