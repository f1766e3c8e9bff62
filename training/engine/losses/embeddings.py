from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from training.engine import activations
from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.projections import projection


@dataclass(frozen=True, slots=True)
class Options:
    of: str = option(
        "tokens",
        choices=("tokens", "rows"),
        help="tokens: the first layer's input, token by token (TinyBERT). rows: what stands before "
        "the last layer, one vector a row, such as a sentence's embedding (EmbedDistill); it "
        "compares networks of any two kinds.",
    )
    measure: str = option(
        "mse",
        choices=("mse", "cosine"),
        help="mse: mean squared difference. cosine: 1 − cosine, where only directions matter.",
    )
    projection: str = option(
        "where_needed",
        choices=("where_needed", "always"),
        help="A learned linear map from the student's width to the teacher's, trained along and "
        "dropped afterwards. always: also where the widths agree.",
    )


@LOSSES.register
class Embeddings(Loss):
    """One value a row; of tokens, the mean over those that are real."""

    key = "embeddings"
    label = "Embeddings"
    summary = (
        "The student's embeddings, of tokens or of whole rows, become the teacher's, through a "
        "learned projection where their widths differ."
    )
    formula = "mean over width of (P e(s) − e(t))², or 1 − cos(P e(s), e(t))"
    paper = "Jiao et al.: TinyBERT, 1909.10351, equation 9; Kim et al.: EmbedDistill, 2301.12005"
    needs_teacher = True
    is_divergence = True
    problems = ("single_label", "multi_label", "regression", "embedding")
    unit = "squared difference"
    Options: ClassVar[type] = Options
    _projection: nn.Module | None = None

    @property
    def wants(self) -> Wanted:
        rows = self.options.of == "rows"
        return Wanted(hidden=not rows, embedding=rows)

    def fit(self, student: Answer, teacher: Answer | None) -> nn.Module | None:
        assert teacher is not None
        one, two = self._of(student), self._of(teacher)
        try:
            activations.alike(one, two)
        except ValueError as fault:
            sentence = f"{fault} Take the embeddings of rows."
            raise ConfigError([Fault(f"{self.key}.of", sentence)]) from None
        always = self.options.projection == "always"
        made = projection(activations.width(one), activations.width(two), always)
        self._projection = made.to(student.logits.device)
        return self._projection if any(True for _ in made.parameters()) else None

    def reads(self) -> frozenset[str]:
        return frozenset({"embedding" if self.options.of == "rows" else "hidden.0"})

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        assert self._projection is not None
        shown = self._of(student)
        real = activations.real_places(shown, student.mask)
        one, two = activations.alike(shown, self._of(teacher))
        one = self._projection(one)
        if self.options.measure == "mse":
            return activations.mean_square(one - two, real) / two.shape[-1]
        turned = activations.direction(one) - activations.direction(two)
        return activations.mean_square(turned, real) * 0.5

    def _of(self, answer: Answer) -> Tensor:
        """Raises ConfigError when the network shows none."""
        shown: Tensor | None = answer.embedding
        if self.options.of == "tokens":
            shown = answer.hidden[0] if answer.hidden else None
        if shown is None:
            sentence = "A network shows no such embeddings; take the other kind."
            raise ConfigError([Fault(f"{self.key}.of", sentence)])
        return shown
