import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine import data, pairs, terms
from training.engine.answers import Answer
from training.engine.data import Batch, Indices
from training.engine.errors import ConfigError, DataError, Fault
from training.engine.language import LanguagePreprocessing
from training.engine.losses import Loss, preference
from training.engine.losses.preference import Preference
from training.engine.networks import Network
from training.engine.pairs import Pair
from training.engine.schemes import SCHEMES, Classroom, Scheme, Step, Total
from training.engine.windows import LanguageInputs

AT_ONCE = 8  # pairs that are scored together


@dataclass(frozen=True, slots=True)
class Options:
    """None: how firmly it is held is the term's."""


@SCHEMES.register
class Preferences(Scheme):
    """Each row is seen with its chosen and its rejected answer, by the student and by what it
    began as, which is kept beside it in checkpoints; or by a teacher in the place of that. Hard
    labels beside the term are of the chosen answers alone, as in the RPO of Pang et al.
    (2404.19733)."""

    key = "preferences"
    label = "On pairs of answers"
    summary = (
        "The student learns which of two answers people prefer, held to what it was when it began, "
        "or to a chosen teacher."
    )
    formula = "on (prompt, chosen) and (prompt, rejected); r: the student's first weights, frozen"
    paper = "Rafailov et al.: Direct Preference Optimization, 2305.18290, section 4"
    tasks = ("text-generation",)
    brings_teacher = True
    compares_layers = False
    copies: ClassVar[int] = 1
    answers: ClassVar[int] = 2
    selects: ClassVar[str] = "loss"
    metrics: ClassVar[tuple[str, ...]] = ("preferred",)
    Options: ClassVar[type] = Options

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.first: nn.Module | None = None  # the student as it began
        self.reference: Network | None = None  # a teacher in its place
        self.pairs: list[Pair | None] = []  # of the rows of the file
        self.begins: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # windows that begin a row

    def prepare(self, student: Network, draw: Callable[[int], nn.Module]) -> nn.Module:
        self.first = copy.deepcopy(student.module).requires_grad_(False)
        return self.first

    def meet(self, classroom: Classroom) -> None:
        self._room = classroom
        if len(classroom.teachers) > 1:
            sentence = "One teacher at most: it is what the student is held to."
            raise ConfigError([Fault("teachers", sentence)])
        if classroom.teachers:
            self.reference = classroom.teachers[0].network
            if self.reference.preprocessing.digest != classroom.student.preprocessing.digest:
                sentence = f"{self.reference.name} cuts texts into other tokens than the student."
                raise ConfigError([Fault("teachers", sentence)])
        if classroom.dataset.weights is not None:
            raise DataError("Rows have weights, and a pair has none. Take the column's role away.")
        said = cast(LanguagePreprocessing, classroom.student.preprocessing)
        source = classroom.dataset.source
        assert source is not None
        self.begins = np.zeros(len(source), dtype=np.bool_)
        self.begins[np.unique(source, return_index=True)[1]] = True
        self.pairs = pairs.read(classroom.dataset.path, said)
        if not any(self._of(classroom.dataset.splits["train"])):
            raise DataError(
                "No training row has a chosen and a rejected answer that fit the student's window."
            )

    def rewrite(self, rows: Indices, number: int) -> Batch | None:
        """Pairs in the place of these rows; those that are none keep their answer, of which the
        term says nothing."""
        there = [one for one in self._of(rows) if one is not None]
        inputs = self._room.inputs
        assert isinstance(inputs, LanguageInputs)
        if there:
            return pairs.batch(there, inputs.pad)
        alone = inputs.batch(rows)
        targets = alone["targets"]
        alone["targets"] = torch.where(targets == data.NO_UNIT, targets, -1)
        return alone

    def teach(self, step: Step) -> Total:
        with torch.no_grad():
            said = self._held(step.batch, step.ask)
        return step.total(step.student(), said.detached())

    def _held(self, batch: Batch, ask: Callable[[nn.Module], Answer]) -> Answer:
        """What the reference says of this batch."""
        if self.reference is not None:
            self.reference.module.eval()
            return self._room.place.answer(self.reference, batch)
        assert self.first is not None
        self.first.eval()
        return ask(self.first)

    def scores(
        self, module: nn.Module, split: str, spoken: Sequence[tuple[terms.Loss, Loss]]
    ) -> dict[str, float]:
        """`loss`, that of pairs alone, and `preferred`, the share of them whose chosen answer has
        gained more on the reference than the rejected one; nothing where the split has no
        pairs."""
        room = self._room
        there = [one for one in self._of(room.dataset.splits[split]) if one is not None]
        term = next((loss for _, loss in spoken if isinstance(loss, Preference)), None)
        if not there or term is None:
            return {}
        inputs = room.inputs
        assert isinstance(inputs, LanguageInputs)
        losses: list[Tensor] = []
        gained: list[Tensor] = []
        module.eval()

        def ask(one: nn.Module) -> Answer:
            return room.place.answer(room.student, batch, module=one)

        with torch.no_grad():
            for start in range(0, len(there), AT_ONCE):
                batch = pairs.batch(there[start : start + AT_ONCE], inputs.pad)
                targets = batch["targets"]
                labels = targets[targets != data.NO_UNIT].to(room.place.device)
                margins = preference.margins(ask(module), self._held(batch, ask), labels)
                gained.append(margins.values.cpu())
                losses.append(term.of(margins.values).cpu())
        return {
            "loss": float(torch.cat(losses).double().mean()),
            "preferred": float((torch.cat(gained) > 0).double().mean()),
        }

    def _of(self, rows: Indices) -> list[Pair | None]:
        """The pairs of these windows; a row of several is one pair, at its first."""
        source = self._room.dataset.source
        assert source is not None
        return [self.pairs[int(source[row])] if self.begins[row] else None for row in rows]
