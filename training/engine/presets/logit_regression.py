from training.engine.presets import PRESETS, Preset
from training.engine.registry import CLASSIFICATION


@PRESETS.register
class LogitRegression(Preset):
    key = "logit_regression"
    family = "begin"
    rank = 5
    label = "Logit regression"
    summary = "The student's logits, or its numbers, approach the teacher's."
    when = "With many rows, labelled or not; and wherever labels are numbers."
    paper = "Ba, Caruana: Do Deep Nets Really Need to be Deep?, 1312.6184"
    tasks = CLASSIFICATION
    losses = ({"kind": "logit_mse", "weight": 1.0},)
