from training.engine.presets import PRESETS, ROWS, Preset


@PRESETS.register
class SimilarityPreserving(Preset):
    key = "similarity_preserving"
    family = "rows"
    rank = 2
    label = "Similarity preserving"
    summary = "Rows that are alike for the teacher become alike for the student."
    when = "Between any two architectures; cheap, with large steps."
    paper = "Tung, Mori: Similarity-Preserving Knowledge Distillation, 1907.09682"
    tasks = ROWS
    losses = (
        {"kind": "relational", "weight": 3000.0, "form": "similarity_preserving"},
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )
