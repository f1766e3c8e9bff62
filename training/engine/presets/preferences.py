from training.engine.presets import PRESETS, Preset


@PRESETS.register
class Preferences(Preset):
    key = "preferences"
    family = "writing"
    rank = 4
    label = "Preferences (DPO)"
    summary = "The student learns which of two answers people prefer, held to what it was before."
    when = (
        "For a student that answers already, and pairs of answers: a column rejected beside text."
    )
    warning = (
        "At a learning rate of ordinary training it forgets how to write: a hundredth is usual. "
        "Perplexity of the chosen answers may well rise."
    )
    paper = "Rafailov et al.: Direct Preference Optimization, 2305.18290"
    tasks = ("text-generation",)
    scheme = "preferences"
    losses = ({"kind": "preference", "weight": 1.0, "beta": 0.1, "label_smoothing": 0.0},)
    training = {"learning_rate": 1e-5, "epochs": 1}  # noqa: RUF012
