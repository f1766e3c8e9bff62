"""How good a student is on the validation rows, at the end of an epoch."""

import math

import torch
from torch import Tensor, nn

from training.engine import evaluate, generation
from training.engine.answers import Answer
from training.engine.data import Dataset, Inputs
from training.engine.lesson import Lesson
from training.engine.networks import Network, Place
from training.engine.recorded import spoke
from training.engine.windows import LanguageInputs

CPU = torch.device("cpu")
#: Metrics that are better when lower, after `val/`.
FALLING = (
    *("loss", "kl", "log_loss", "ece", "rmse", "mae", "teacher_rmse"),
    *("perplexity", "bits_per_character"),
)


def better(metric: str, value: float, than: float | None) -> bool:
    """Whether a value of a metric such as `val/loss` is better than another, or than none."""
    if than is None:
        return True
    return value < than if metric.removeprefix("val/") in FALLING else value > than


class Judge:
    """Scores the validation rows for a lesson."""

    def __init__(
        self, dataset: Dataset, student: Network, inputs: Inputs, lesson: Lesson, place: Place
    ) -> None:
        self.dataset, self.student, self.inputs = dataset, student, inputs
        self.lesson, self.place = lesson, place

    def scores(self, module: nn.Module, done: float) -> dict[str, float]:
        """Metrics by name, `val/...`, of the student or of another module of its kind, when the
        share `done` of the stage's steps is done."""
        if self.lesson.writes:
            return self._of_writing(module, done)
        rows = self.dataset.splits["validation"]
        logits = evaluate.predict(self.student, self.inputs, rows, self.place, module=module)
        labels = evaluate.truths(self.dataset, self.inputs, rows)
        problem = self.dataset.problem
        starts = evaluate.word_starts(self.inputs, rows)
        names = self.dataset.names
        values = evaluate.score(logits, labels, problem, names=names, starts=starts)
        truth = torch.from_numpy(labels)
        teacher: Answer | None = None
        if self.lesson.teachers:
            teacher = self.lesson.target(rows, "validation", truth).to(CPU)
            said = teacher.logits.numpy()
            there = slice(None) if self.lesson.heard is None else spoke(said)
            values |= evaluate.fidelity(logits[there], said[there], problem)
        if problem != "embedding":  # whose terms all look at vectors as training's own do
            heard = self.lesson.heard_of(rows)
            values["loss"] = self._loss(logits, teacher, truth, done, heard)
        return {f"val/{name}": value for name, value in values.items()}

    def _loss(
        self,
        logits: evaluate.Logits,
        teacher: Answer | None,
        truth: Tensor,
        done: float,
        heard: Tensor | None,
    ) -> float:
        """The total of the terms that compare answers; those about layers are training's own."""
        answer = Answer(torch.from_numpy(logits))
        counts = self.lesson.counts(truth, len(truth), heard)
        counts = {
            one.kind: 0 if loss.wants else counts[one.kind] for one, loss in self.lesson.terms
        }
        with torch.no_grad():
            total, _ = self.lesson.total(
                answer, teacher, truth, counts, self.lesson.weights_at(done)
            )
        return float(total)

    def _of_writing(self, module: nn.Module, done: float) -> dict[str, float]:
        """The same of a network that writes, a few windows at a time."""
        assert isinstance(self.inputs, LanguageInputs)
        rows = self.dataset.splits["validation"]
        weights = self.lesson.weights_at(done)
        units = int(self.inputs.units[rows].sum())
        counts = {
            one.kind: 0 if loss.wants or loss.of_sequences else units
            for one, loss in self.lesson.terms
        }
        self.lesson.apart = False

        def loss(student: Answer, teacher: Answer | None, labels: Tensor) -> float:
            return float(self.lesson.total(student, teacher, labels, counts, weights)[0])

        judged = generation.judge(
            self.student,
            self.inputs,
            self.dataset,
            rows,
            self.place,
            target=self.lesson.said_of(self.inputs, "validation"),
            module=module,
            beside=loss,
        )
        values = judged.scores(self.inputs.form)
        if not math.isnan(judged.kl.sum()):
            values |= judged.fidelity()
        values |= {"loss": judged.beside}
        values |= self.lesson.scheme.scores(module, "validation", self.lesson.terms)
        return {f"val/{name}": value for name, value in values.items() if not math.isnan(value)}
