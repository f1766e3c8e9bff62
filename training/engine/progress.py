"""How far the whole job is, honestly: what is done over what is done and left, in seconds."""

import time
from collections import deque
from statistics import median

from training.engine.events import Progress

SHOW_EVERY = 0.5  # seconds between two events


class Clock:
    """Counts the seconds of all attempts, and estimates those that are left.

    Left are: teachers' answers, training steps, evaluations after each epoch, and the end
    (evaluation and latency). A step costs the median of the last hundred; before the first one, a
    guess from one forward pass.
    """

    def __init__(self, spent: float = 0.0) -> None:
        self._began = time.monotonic() - spent
        self._shown_at = 0.0
        self._fraction = 0.0
        self._step_seconds: deque[float] = deque(maxlen=100)
        self.step = 0
        self.steps = 0
        self.guess: float | None = None  # of a step's seconds
        self.rows_left = 0  # that teachers have still to answer
        self.row_seconds = 0.0  # of one teacher's answer to one row
        self.later_steps = 0  # of stages to come
        self.epochs_left = 0.0
        self.epoch_seconds = 0.0  # of one evaluation between epochs
        self.end_seconds = 5.0  # of evaluation, latency and saving

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def spent_before(self, seconds: float) -> None:
        """Count what earlier attempts of this job took, too."""
        self._began -= seconds

    def stepped(self, step: int, seconds: float) -> None:
        self.step = step
        self._step_seconds.append(seconds)

    def left(self) -> float | None:
        """Seconds until the job is over, or None while that cannot be said."""
        if self.steps and self.step >= self.steps and not self.later_steps:
            return self.end_seconds
        known = median(self._step_seconds) if self._step_seconds else self.guess
        if known is None:
            return None
        asking = self.rows_left * self.row_seconds
        steps = (self.steps + self.later_steps - self.step) * known
        return asking + steps + self.epochs_left * self.epoch_seconds + self.end_seconds

    def due(self) -> bool:
        return time.monotonic() - self._shown_at >= SHOW_EVERY

    def show(self, *, over: bool = False) -> Progress:
        self._shown_at = time.monotonic()
        left = 0.0 if over else self.left()
        if left is not None:
            now = self.seconds / (self.seconds + left) if left else 1.0
            self._fraction = max(self._fraction, now if over else min(now, 0.999))
        eta = None if left is None else round(left, 1)
        steps = self.steps + self.later_steps
        return Progress(self.step, steps, round(self._fraction, 4), eta)
