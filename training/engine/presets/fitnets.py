from training.engine.presets import PRESETS, ROWS, UNLIKE, Preset


@PRESETS.register
class FitNets(Preset):
    """Equation 4: lambda falls from 4 to 1 while the student trains, at T 3. The paper's term
    lacks our factor T squared, so the weight falls from 4/9 to 1/9.
    """

    key = "fitnets"
    family = "layers"
    rank = 5
    label = "FitNets"
    summary = "First the teacher's layers as hints, then its predictions, which fade out."
    when = "For students that are thinner and deeper than their teacher."
    warning = UNLIKE
    paper = "Romero et al.: FitNets: Hints for Thin Deep Nets, 1412.6550"
    tasks = ROWS
    scheme = "staged"
    stages = (
        {
            "name": "hints",
            "losses": [{"kind": "hidden_states", "weight": 1.0, "layers": "uniform"}],
        },
        {
            "name": "predictions",
            "losses": [
                {
                    "kind": "soft_targets", "weight": 0.44, "temperature": 3.0,
                    "weight_schedule": "linear", "final_weight": 0.11,
                },
                {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
            ],
        },
    )  # fmt: skip
