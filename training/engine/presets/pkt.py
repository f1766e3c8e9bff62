from training.engine.presets import PRESETS, ROWS, Preset


@PRESETS.register
class PKT(Preset):
    key = "pkt"
    family = "rows"
    rank = 3
    label = "Neighbours (PKT)"
    summary = "Who is whose neighbour, as probabilities, becomes what it is for the teacher."
    when = "Between any two architectures; made for vectors that are searched, not only classified."
    paper = "Passalis, Tefas: Probabilistic Knowledge Transfer, 1803.10837"
    tasks = ROWS
    losses = (
        {"kind": "relational", "weight": 30000.0, "form": "pkt"},
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )
