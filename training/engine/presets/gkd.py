from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class GKD(Preset):
    key = "gkd"
    family = "writing"
    rank = 1
    label = "GKD"
    summary = "Half of the answers are the student's own, and the teacher corrects each token."
    when = "For completions and chats, after a first training on given answers."
    warning = "Writing costs more than reading: steps take several times as long."
    paper = "Agarwal et al.: On-Policy Distillation of Language Models (GKD), 2306.13649"
    tasks = ("text-generation",)
    scheme: ClassVar[str | JSON] = {"kind": "on_policy", "share": 0.5, "temperature": 1.0}
    losses = ({"kind": "jsd", "weight": 1.0, "beta": 0.5, "temperature": 1.0},)
