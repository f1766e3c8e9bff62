from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from training.engine import activations, layer_pairs
from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.job_config import Problem
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.projections import Projections


@dataclass(frozen=True, slots=True)
class Options:
    layers: str = option("uniform", help=layer_pairs.HELP)
    measure: str = option(
        "mse",
        choices=("mse", "normalised", "cosine"),
        help="mse: mean squared difference (FitNets, TinyBERT). normalised: squared distance of "
        "vectors of length 1 (PKD). cosine: half of that, which is 1 − cosine (DistilBERT).",
    )
    places: str = option(
        "all",
        choices=("all", "first", "mean"),
        help="all: token by token, or place by place of maps; padding never counts. first: the "
        "first token only (PKD). mean: the mean of all, which also compares networks whose places "
        "differ.",
    )
    projection: str = option(
        "where_needed",
        choices=("where_needed", "always"),
        help="A learned linear map from the student's width to the teacher's, one a pair, trained "
        "along and dropped afterwards. always: also where the widths agree.",
    )


@LOSSES.register
class HiddenStates(Loss):
    """One value a row: the sum over pairs of layers of the mean over real places. Of two maps of
    different size the larger is pooled to the smaller."""

    key = "hidden_states"
    label = "Hidden states"
    summary = (
        "Layers of the student become what layers of the teacher are, through a learned "
        "projection where their widths differ. Between unlike architectures it often hurts."
    )
    formula = "Σ over pairs (m, n) of mean over places of ‖P h(s, m) − h(t, n)‖² / width"
    paper = (
        "Romero et al.: FitNets, 1412.6550, equation 3; Sun et al.: Patient Knowledge "
        "Distillation, 1908.09355, section 3.2; Jiao et al.: TinyBERT, 1909.10351, equation 8"
    )
    needs_teacher = True
    is_divergence = True
    problems = ("single_label", "multi_label", "regression", "embedding")
    unit = "squared difference"
    Options: ClassVar[type] = Options
    wants = Wanted(hidden=True)

    def __init__(self, options: Any, problem: Problem = "single_label") -> None:
        super().__init__(options, problem)
        self._projections: Projections | None = None
        try:
            self._choice = layer_pairs.read(options.layers)
        except ValueError as fault:
            raise self._fault("layers", fault) from None

    def fit(self, student: Answer, teacher: Answer | None) -> nn.Module | None:
        assert teacher is not None
        try:
            pairs = layer_pairs.choose(
                self._choice, student.hidden, teacher.hidden, student.mask, first=0
            )
        except ValueError as fault:
            raise self._fault("layers", fault) from None
        widths = []
        for mine, theirs in pairs:
            one, two = student.hidden[mine], teacher.hidden[theirs]
            try:
                self._compared(one, two, student.mask)
            except ValueError as fault:
                raise self._fault("places", f"{fault} Take the mean of places.") from None
            widths.append((activations.width(one), activations.width(two)))
        always = self.options.projection == "always"
        self._projections = Projections(pairs, widths, always=always).to(student.logits.device)
        return self._projections

    def reads(self) -> frozenset[str]:
        if self._projections is None:
            return super().reads()
        return frozenset(f"hidden.{theirs}" for _, theirs in self._projections.pairs)

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        assert self._projections is not None
        total: Tensor | None = None
        for place, (mine, theirs) in enumerate(self._projections.pairs):
            one, two, real = self._compared(
                student.hidden[mine], teacher.hidden[theirs], student.mask
            )
            apart = self._apart(self._projections(one, place), two, real)
            total = apart if total is None else total + apart
        assert total is not None
        return total

    def _compared(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both as `[batch, places, width]`, and which places are real. Raises ValueError."""
        if self.options.places == "mean":
            return (
                activations.average(student, mask).unsqueeze(1),
                activations.average(teacher, mask).unsqueeze(1),
                None,
            )
        real = activations.real_places(student, mask)
        one, two = activations.alike(student, teacher)
        if self.options.places == "first":
            return one[:, :1], two[:, :1], None
        return one, two, real

    def _apart(self, one: Tensor, two: Tensor, real: Tensor | None) -> Tensor:
        """The mean over real places, `[batch]`, of `[batch, places, width]`."""
        if self.options.measure == "mse":
            return activations.mean_square(one - two, real) / one.shape[-1]
        turned = activations.direction(one) - activations.direction(two)
        apart = activations.mean_square(turned, real)
        return apart if self.options.measure == "normalised" else apart * 0.5

    def _fault(self, option: str, sentence: object) -> ConfigError:
        return ConfigError([Fault(f"{self.key}.{option}", str(sentence))])
