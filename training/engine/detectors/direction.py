"""Which way a stream must change to be told of: errors that rise do harm, those that fall don't."""

from training.engine.options import option

UP, DOWN, BOTH = "up", "down", "both"
DIRECTION = option(
    UP,
    choices=(UP, DOWN, BOTH),
    help="Which change is told: a rise (of errors, of disagreement), a fall, or both.",
)


def harmful(rose: float, direction: str) -> bool:
    """Whether a change by `rose` is to be told."""
    return direction == BOTH or (rose > 0) == (direction == UP)
