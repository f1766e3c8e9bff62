from training.engine.presets import PRESETS, Preset


@PRESETS.register
class GenerationSoftTargets(Preset):
    """T 1 and no labels: what was best on tinyshakespeare, where the teacher's probabilities of the
    next token say all that its label says, and how sure one can be of it."""

    key = "generation_soft_targets"
    family = "begin"
    rank = 2
    label = "Soft targets, token by token"
    summary = "The teacher's probabilities of every next token, and nothing else."
    when = "The place to start for networks that write and share their teacher's tokens."
    paper = "Hinton, Vinyals, Dean, 1503.02531; Kim, Rush, 1606.07947, section 3.1 (word-level)"
    tasks = ("text-generation",)
    losses = ({"kind": "soft_targets", "weight": 1.0, "temperature": 1.0},)
