"""What the steps since the last line of the journal have shown."""

from dataclasses import dataclass, field

from torch import Tensor

MOST_LINES = 5000  # measured lines of a run's steps; longer runs tell the mean of several steps


def lines_every(steps: int) -> int:
    """Steps from one line to the next, in a stage of so many."""
    return -(-steps // MOST_LINES)


@dataclass(slots=True)
class Window:
    """Steps since the last line. Sums stay where they were made: asking a GPU for a number would
    wait for it."""

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)  # of the total and each term
    norms: Tensor | None = None  # of the gradients

    def add(self, sums: dict[str, Tensor], norm: Tensor, rows: int, seconds: float) -> None:
        """Count one step."""
        self.steps += 1
        self.rows += rows
        self.seconds += seconds
        self.norms = norm if self.norms is None else self.norms + norm
        if not self.sums:
            self.sums = sums
            return
        for name, value in sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.seconds, 1e-9)
