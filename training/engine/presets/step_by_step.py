from training.engine.presets import PRESETS, Preset


@PRESETS.register
class StepByStep(Preset):
    key = "step_by_step"
    family = "writing"
    rank = 3
    label = "Step by step"
    summary = "The student learns the answers, and apart from them the reasons a teacher gave."
    when = "For prompts whose answers come with reasons: a column rationale beside prompt and text."
    warning = "Reasons that do not lead to the answer teach nothing, and cost as many steps."
    paper = "Hsieh et al.: Distilling Step-by-Step!, 2305.02301"
    tasks = ("text-generation",)
    losses = (
        {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.0},
        {"kind": "rationale", "weight": 0.5},
    )
