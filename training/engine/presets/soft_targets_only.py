from training.engine.presets import PRESETS, Preset
from training.engine.registry import CLASSIFICATION


@PRESETS.register
class SoftTargetsOnly(Preset):
    key = "soft_targets_only"
    family = "begin"
    rank = 3
    label = "Soft targets, few labels"
    summary = "Only the teacher speaks, so rows without a label teach as much as the others."
    when = "Where most rows have no label: often the largest gain that there is."
    paper = "Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 1503.02531"
    tasks = CLASSIFICATION
    losses = ({"kind": "soft_targets", "weight": 1.0, "temperature": 2.0},)
