from training.engine.presets import PRESETS, Preset


@PRESETS.register
class Embeddings(Preset):
    """Two geometric terms, as the paper's section 4 matches embeddings beside scores. Angles are
    left out: distances tell the neighbours, at the square of a step's rows instead of the cube."""

    key = "embeddings"
    family = "begin"
    rank = 6
    label = "Embeddings"
    summary = "The student's vectors become the teacher's, and rows stand as far apart."
    when = "For search and clustering: a small model of vectors that finds the same neighbours."
    paper = (
        "Kim et al.: EmbedDistill, 2301.12005; Park et al.: Relational Knowledge Distillation, "
        "1904.05068"
    )
    tasks = ("feature-extraction",)
    losses = (
        {"kind": "embeddings", "weight": 1.0, "of": "rows", "measure": "mse"},
        {
            "kind": "relational", "weight": 1.0, "form": "rkd", "distance_weight": 1.0,
            "angle_weight": 0.0,
        },
    )  # fmt: skip
