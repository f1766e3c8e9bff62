from training.engine.presets import PRESETS, ROWS, Preset


@PRESETS.register
class RelationalKD(Preset):
    """The paper's weights for classification: 25 of distances, 50 of angles."""

    key = "rkd"
    family = "rows"
    rank = 1
    label = "Relations (RKD)"
    summary = "Distances and angles between the rows of a step become the teacher's."
    when = "Between any two architectures, with steps of 64 rows or more."
    paper = "Park et al.: Relational Knowledge Distillation, 1904.05068"
    tasks = ROWS
    losses = (
        {
            "kind": "relational", "weight": 25.0, "form": "rkd", "distance_weight": 1.0,
            "angle_weight": 2.0,
        },
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )  # fmt: skip
