"""What the student is held against: the terms, the scheme, and what the teachers say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine import (
    asking,
    augmentation,
    data,
    evaluate,
    generation,
    head_loss,
    networks,
    terms,
)
from training.engine.answers import NOTHING, Answer, Wanted
from training.engine.augmentation import View
from training.engine.data import Batch, Dataset, Indices, Inputs
from training.engine.errors import ConfigError, DataError, Fault
from training.engine.heads import TopK, Unmultiplied, taught
from training.engine.job_config import JobConfig, NetworkInput, Problem
from training.engine.language_teacher import LanguageTeacher
from training.engine.losses import LOSSES, Loss
from training.engine.networks import Network, Place
from training.engine.options import JSON
from training.engine.recorded import Recorded
from training.engine.schemes import SCHEMES, Plan, Scheme, Total
from training.engine.schemes.joining import names
from training.engine.tasks import TASKS
from training.engine.teacher_outputs import Teacher
from training.engine.windows import LanguageInputs


@dataclass(frozen=True, slots=True)
class Worth:
    """How much the rows of a batch count: `rows` [rows], and of each of their units `units`
    [units], float32, 1 on average over training rows."""

    rows: Tensor
    units: Tensor

    def of(self, values: Tensor) -> Tensor:
        """What a term says of each unit or row, weighed. Terms of another shape compare rows with
        each other, which belong to no single one, and stay as they are."""
        if values.shape == self.units.shape:
            return values * self.units
        return values * self.rows if values.shape == self.rows.shape else values


class Lesson:
    """The weighted terms of a stage, over the answers of its teachers."""

    def __init__(self, config: JobConfig, dataset: Dataset, scheme: Scheme, plan: Plan) -> None:
        self.config, self.dataset, self.scheme, self.plan = config, dataset, scheme, plan
        self.terms: list[tuple[terms.Loss, Loss]] = [
            (one, loss_of(one, dataset.problem)) for one in plan.losses if spoken(one)
        ]
        frozen = plan.teacher == "previous" or (plan.teacher == "given" and bool(config.teachers))
        self.needs_teacher = frozen and any(
            loss.needs_teacher and not loss.of_sequences for _, loss in self.terms
        )
        self.wanted = NOTHING  # of student and teacher, by the terms
        for _, loss in self.terms:
            self.wanted = self.wanted | loss.wants
        self.is_joint = any(loss.is_joint for _, loss in self.terms)
        self.teachers: list[Teacher | Recorded] = []
        self.heard: NDArray[np.bool_] | None = None  # rows of which one speaks; None: of all
        self.own = nn.ModuleDict()  # weights of the terms, such as projections
        self.all_labelled = bool(dataset.labelled.all()) and TASKS[config.task].unit == "row"
        changes = config.training.augmentation != "none"
        self.augments = changes and config.task in augmentation.TASKS  # others stay as they are
        self.views = self._views()
        self.decisions: list[asking.Decision] = []  # how each teacher is asked
        self.route: Tensor | None = None  # the teacher that each row is asked, where rows say so
        self.apart = False  # whether each term's own gradient is wanted, beside the total's
        self.bfloat16 = False
        self.inputs: LanguageInputs | None = None  # the student's, of a network that writes
        self._check()

    def _check(self) -> None:
        if self.wanted and not self.scheme.compares_layers:
            faulty = next(one.kind for one, loss in self.terms if loss.wants)
            sentence = f"{self.scheme.label} compares answers only; {faulty} compares layers."
            raise ConfigError([Fault("losses", sentence)])
        listening = [one.kind for one, loss in self.terms if loss.needs_teacher]
        if listening and not self.scheme.hears_probabilities:
            sentence = (
                f"{self.scheme.label}: only words come from the teacher, and {listening[0]} wants "
                "its probabilities. Take hard labels."
            )
            raise ConfigError([Fault("losses", sentence)])
        if self.scheme.needs_teacher and self.scheme.hears_probabilities and not listening:
            sentence = f"{self.scheme.label}: no term listens to the teacher. Add one that does."
            raise ConfigError([Fault("losses", sentence)])

    @property
    def shares_inputs(self) -> bool:
        """Whether student and teacher must see the very same inputs: place by place, or the same
        augmented picture."""
        layers = self.wanted.hidden or self.wanted.attention or self.wanted.relations
        return self.needs_teacher and (layers or self.augments or self.writes)

    @property
    def trains_answers(self) -> bool:
        """Whether any term trains what is scored. Of a stage about layers alone, whose last layer
        learns nothing, scores say nothing either: its newest weights are its best."""
        vectors = self.dataset.problem == "embedding"
        return vectors or any(not loss.wants for _, loss in self.terms)

    @property
    def writes(self) -> bool:
        """Whether units are tokens of a vocabulary."""
        return TASKS[self.config.task].unit == "token"

    @property
    def asks_live(self) -> bool:
        """Whether the teachers are asked in every step whatever that costs: rows that are changed
        anew in every epoch are never the same."""
        return self.config.teacher_outputs == "live" or (self.augments and not self.views)

    @property
    def epochs(self) -> int:
        """Of this stage."""
        return self.plan.epochs or self.config.training.epochs

    def _views(self) -> tuple[View, ...]:
        """Frozen views of the rows, as many as there are epochs for."""
        training = self.config.training
        if not self.augments or training.augmentation_views is None:
            return ()
        plans = self.scheme.plan(self.config.losses, self.config.stages, training.epochs)
        epochs = sum(one.epochs or training.epochs for one in plans)
        count = min(training.augmentation_views, epochs)
        return tuple(View(training.augmentation, training.seed, one) for one in range(count))

    def view_of(self, epoch: int) -> View | None:
        """The frozen view of an epoch of all stages; None where there are none."""
        return self.views[epoch % len(self.views)] if self.views else None

    @property
    def reads(self) -> tuple[str, ...]:
        """The teacher's layers that are to be stored, once the terms are fitted: by name, or by
        kind. None where its answer is the vector that is compared."""
        if self.dataset.problem == "embedding" and self.wanted == Wanted(embedding=True):
            return ()
        return asking.reads_of({one for _, loss in self.terms for one in loss.reads()})

    def rows(self) -> Indices:
        """The rows of an epoch: those that at least one term speaks about.

        Where only labels speak, and some rows have none, the labelled ones come around until the
        epoch is as long as the training split: a control takes as many steps as the run in which a
        teacher speaks about all of them.
        """
        rows = self.dataset.splits["train"]
        if self.heard is not None and self.needs_teacher:
            return self._heard_or_labelled(rows)
        if self.needs_teacher or any(not loss.needs_labels for _, loss in self.terms):
            return rows
        labelled = rows[self.dataset.labelled[rows]]
        if not len(labelled):
            raise DataError("No training row has a label, and there is no teacher to speak.")
        return np.resize(labelled, len(rows))

    def _heard_or_labelled(self, rows: Indices) -> Indices:
        """Those of which the teachers speak, or whose label a term learns from; they come around,
        too."""
        assert self.heard is not None
        speak = self.heard[rows]
        if not speak.any():
            who = " and ".join(one.name for one in self.teachers)
            raise DataError(f"{who} said nothing of any training row.")
        if any(not loss.needs_teacher for _, loss in self.terms):
            speak = speak | self.dataset.labelled[rows]
        return np.resize(rows[speak], len(rows))

    # -- teachers --------------------------------------------------------------------------------

    def enter(self, folder: Path, place: Place, previous: Path | None) -> None:
        """Load the teachers: the given ones, or the student that the stage before has left."""
        self.bfloat16 = place.half is torch.bfloat16
        if self.plan.teacher == "previous":
            assert previous is not None
            self._load(f"generation of {self.config.student.name}", previous, 1.0, folder, place)
        for one in self.config.teachers if self.plan.teacher == "given" else ():
            if one.recorded is not None:
                self._read(one, one.recorded, folder / "prepared")
                continue
            assert one.path is not None
            self._load(one.name, folder / one.path, one.weight, folder, place)
        if len(self.teachers) > 1 and self.wanted:
            sentence = "Layers are compared with one teacher's; choose one."
            raise ConfigError([Fault("teachers", sentence)])
        if self.teachers and not self.live:
            spoken = np.any([one.spoken for one in self.recorded], axis=0)
            self.heard = None if spoken.all() else spoken

    def _load(self, name: str, path: Path, weight: float, folder: Path, place: Place) -> None:
        """A teacher that is a network, from its model folder. Raises DataError."""
        network = networks.load(name, path, self.config.task)
        if network.problem != self.dataset.problem:
            raise DataError(
                f"{name} answers {terms.PROBLEMS[network.problem]}, and this dataset has "
                f"{terms.PROBLEMS[self.dataset.problem]}."
            )
        kind = LanguageTeacher if self.writes else Teacher
        networks.read_rationales(network, self.dataset)
        teacher = kind(network, path, weight, self.dataset, place)
        self.teachers.append(teacher)
        if self.asks_live or self.wanted or TASKS[self.config.task].unit != "row":
            teacher.prepare(folder / "prepared")

    def _read(self, asked: NetworkInput, recorded: JSON, home: Path) -> None:
        """A teacher whose answers stand in columns of the dataset. Raises ConfigError and
        DataError."""
        if TASKS[self.config.task].unit != "row":
            sentence = f"{asked.name} is recorded labels of rows; here words and tokens have them."
            raise ConfigError([Fault("teachers", sentence)])
        separator = self.config.dataset.separator
        one = Recorded(asked.name, asked.weight, recorded, self.dataset, home, separator)
        refused = [why for _, loss in self.terms if (why := one.refusal(loss))]
        if refused:
            raise ConfigError([Fault("losses", refused[0])])
        self.teachers.append(one)

    @property
    def live(self) -> list[Teacher]:
        """The teachers that are networks, and can be asked."""
        return [one for one in self.teachers if isinstance(one, Teacher)]

    @property
    def recorded(self) -> list[Recorded]:
        return [one for one in self.teachers if isinstance(one, Recorded)]

    def heard_of(self, rows: Indices) -> Tensor | None:
        """`[rows]` of bool: of which of these rows a teacher speaks; None where of all."""
        return None if self.heard is None else torch.from_numpy(self.heard[rows])

    def divide(self, inputs: Inputs) -> Dataset:
        """Long texts become windows, which are the rows from here on; the student's and, where it
        cuts them in its own way, each teacher's."""
        if not isinstance(inputs, LanguageInputs):
            return self.dataset
        self.inputs = inputs
        whole, self.dataset = self.dataset, inputs.divided(self.dataset)
        for teacher in self.live:
            assert isinstance(teacher, LanguageTeacher)
            teacher.seat(whole)
        return self.dataset

    def check_inputs(self, student: Network) -> None:
        """Raises ConfigError when the terms compare places of different inputs."""
        if not self.shares_inputs:
            return
        for teacher in self.live:
            if teacher.network.preprocessing.digest != student.preprocessing.digest:
                sentence = (
                    f"{teacher.network.name} reads its inputs in another way (tokens or size) than "
                    f"{student.name}, so their layers cannot be compared place by place. Begin "
                    "with a student without weights, which takes over its teacher's way."
                )
                raise ConfigError([Fault("student", sentence)])

    @property
    def temperature(self) -> float:
        """The highest at which the terms look at the teacher; 1 where none softens."""
        return max(self.temperatures, default=1.0)

    @property
    def temperatures(self) -> list[float]:
        """At which the terms look at the teacher."""
        return [
            float(getattr(loss.options, "temperature", 1.0))
            for _, loss in self.terms
            if loss.needs_teacher
        ]

    def truths(self, rows: Indices) -> data.Targets:
        """The labels of these rows' units."""
        if TASKS[self.config.task].unit == "row":
            return self.dataset.labels[rows]
        inputs = self.live[0].inputs
        assert inputs is not None
        return evaluate.truths(self.dataset, inputs, rows)

    def read_route(self) -> None:
        """Which teacher each row is asked, where a column of the dataset says so."""
        column = self.scheme.route_column
        if not column or len(self.teachers) < 2:
            return
        every = np.arange(len(self.dataset), dtype=np.int64)
        if self.dataset.source is not None:
            every = self.dataset.source
        values = data.values(self.dataset.path, column, every)
        self.route = names(values, [one.name for one in self.teachers])
        if not bool((self.route >= 0).any()):
            known = ", ".join(one.name for one in self.teachers)
            raise DataError(f"No row's {column} names a teacher; they are {known}.")

    def target(
        self,
        rows: Indices,
        split: str,
        labels: Tensor,
        batch: Batch | None = None,
        *,
        changed: bool = False,
        view: View | None = None,
    ) -> Answer:
        """What the teachers say of these rows, as the scheme joins them. `labels` are those of the
        rows' units. `batch` holds the inputs; they are no longer the rows' own where `changed`, or
        where images are augmented: then they may be a `view` of them. Layers are compared in
        training alone."""
        learns = split == "train"
        wanted, reads = (self.wanted, self.reads) if learns and self.wanted else (NOTHING, ())
        altered = changed or (self.augments and learns)
        given = batch if altered else None
        seen = view if altered and not changed else None
        said = [
            one.answer(rows, split, wanted, given, view=seen, reads=reads) for one in self.teachers
        ]
        if len(said) > 1 or self.route is not None:
            return Answer(self.join([one.logits for one in said], rows, labels))
        return said[0]

    def join(self, said: Sequence[Tensor], rows: Indices, labels: Tensor) -> Tensor:
        """`[units, classes]`: every teacher's logits of these rows as one, as the scheme joins
        them; of a row those of the teachers that speak of it, NaN where none does."""
        route = None if self.route is None else self.route[torch.from_numpy(rows)]
        weights = [teacher.weight for teacher in self.teachers]
        if all(bool(one.spoken.all()) for one in self.recorded):
            return self._together(said, weights, labels, route)
        spoke = torch.stack([~one.isnan().any(dim=1) for one in said])  # [teachers, units]
        joined = torch.full_like(said[0], torch.nan)
        for speakers in torch.unique(spoke, dim=1).T:
            who = speakers.nonzero().flatten().tolist()
            units = (spoke == speakers.unsqueeze(1)).all(dim=0)
            theirs = None
            if route is not None:  # numbered anew; who says nothing of a row is not its teacher
                number = torch.full((len(said) + 1,), -1, dtype=torch.int64)
                number[torch.tensor(who, dtype=torch.int64)] = torch.arange(len(who))
                theirs = number[route[units]]
            if who:
                some = [said[one][units] for one in who]
                shares = [weights[one] for one in who]
                joined[units] = self._together(some, shares, labels[units], theirs)
        return joined

    def _together(
        self, said: Sequence[Tensor], weights: Sequence[float], labels: Tensor, route: Tensor | None
    ) -> Tensor:
        """As the scheme joins the probabilities of classes. Of several labels each is a yes or a no
        of its own; numbers are averaged."""
        if self.dataset.problem == "regression":
            shares = torch.tensor(weights).unsqueeze(1).expand(-1, len(labels))
            if route is not None:
                number = torch.arange(len(said)).unsqueeze(1)
                shares = torch.where(route >= 0, (number == route).float(), shares)
            shares = shares / shares.sum(dim=0)
            return (torch.stack([one.float() for one in said]) * shares.unsqueeze(-1)).sum(dim=0)
        if self.dataset.problem != "multi_label" or len(said) == 1:
            return self.scheme.join(said, weights, labels, route)
        classes = said[0].shape[1]
        answers = [torch.stack((one, torch.zeros_like(one)), -1).reshape(-1, 2) for one in said]
        truth = torch.where(labels.isnan(), -1.0, (labels < 0.5).float()).long().flatten()
        routes = None if route is None else route.repeat_interleave(classes)
        both = self.scheme.join(answers, weights, truth, routes).reshape(-1, classes, 2)
        return both[..., 0] - both[..., 1]

    def said_of(self, inputs: LanguageInputs, split: str) -> generation.Target:
        """What the teachers say of a split's windows; nothing where they cut texts otherwise."""
        same = all(teacher.network.preprocessing.digest == inputs.digest for teacher in self.live)

        def target(rows: Indices, labels: Tensor) -> Answer | None:
            return self.target(rows, split, labels)

        return target if self.teachers and same else generation.no_target

    # -- the total -------------------------------------------------------------------------------

    def fit(self, student: Answer, teacher: Answer | None) -> None:
        """Let the terms make weights of their own for these shapes."""
        for one, loss in self.terms:
            made = loss.fit(student, teacher)
            if made is not None:
                self.own[one.kind] = made

    def weights_at(self, done: float) -> dict[str, float]:
        """Each term's weight when this share of the stage's steps is done."""
        return {one.kind: one.weight_at(done) for one, _ in self.terms}

    def total(
        self,
        student: Answer,
        teacher: Answer | None,
        labels: Tensor,
        counts: dict[str, int],
        weights: dict[str, float],
        worth: Worth | None = None,
    ) -> Total:
        """The weighted total and each term's mean, where `counts` are the units (for terms about
        layers, the rows) each term speaks about in the whole optimizer step, of which this may be
        one micro-batch. `worth` is how much its rows count; None: all the same. Terms that need a
        teacher are silent where none speaks. Numbers are held
        against each other in deviations of the training rows' labels, so that a learning rate does
        not depend on their unit."""
        if self.dataset.problem == "regression":
            student, labels = self._scaled(student), self._unit(labels)
            teacher = None if teacher is None else self._scaled(teacher)
        total: Tensor | None = None
        parts: dict[str, Tensor] = {}
        spoken = [
            (one.kind, weights[one.kind], loss)
            for one, loss in self.terms
            if counts[one.kind] and not (loss.needs_teacher and teacher is None)
        ]
        heard = None if self.heard is None or teacher is None else _there(teacher)
        if spoken and worth is None and isinstance(student, Unmultiplied):
            found = self._in_chunks(student, teacher, labels, spoken, counts)
            if found is not None:
                return found
        for kind, weight, loss in spoken:
            if heard is not None and loss.needs_teacher:
                values = _of_heard(loss, student, teacher, labels, worth, heard)
            else:
                values = loss.values(student, teacher, labels)
                values = values if worth is None else worth.of(values)
            whole = values.numel() == counts[kind]  # the same number with one operation less
            part = values.mean() if whole else values.sum() / counts[kind]
            weighted = part if weight == 1.0 else part * weight
            total = weighted if total is None else total + weighted
            parts[kind] = part
        if total is None:  # no term speaks about these rows
            total = silent(student) * 0.0
        return total, parts

    def _in_chunks(
        self,
        student: Unmultiplied,
        teacher: Answer | None,
        labels: Tensor,
        spoken: list[head_loss.Term],
        counts: dict[str, int],
    ) -> Total | None:
        """The total of a large vocabulary, whose logits are never all there; None where a term
        wants them all."""
        said = taught(teacher)
        why = head_loss.fits(spoken, isinstance(said, TopK))
        if why and isinstance(said, TopK):
            sentence = f"A stored top k cannot teach it: {why}. Keep logits or hidden states."
            raise ConfigError([Fault("teacher_outputs", sentence)])
        if why or student.head is None:
            return None
        return head_loss.total(
            student.head,
            said,
            labels,
            spoken,
            counts,
            bfloat16=self.bfloat16,
            apart=self.apart and torch.is_grad_enabled(),
        )

    def _unit(self, numbers: Tensor) -> Tensor:
        mean, deviation = self.dataset.scale
        return (numbers - mean) / deviation

    def _scaled(self, answer: Answer) -> Answer:
        return replace(answer, logits=self._unit(answer.logits))

    def counts(self, labels: Tensor, rows: int, heard: Tensor | None = None) -> dict[str, int]:
        """The units that each term speaks about, of the given labels; the rows for terms about
        layers. `heard` are those of which a teacher speaks; None: all."""
        if self.all_labelled and heard is None:
            return {one.kind: rows for one, _ in self.terms}
        return {
            one.kind: rows if loss.wants else int(_spoken_of(loss, labels, heard).sum())
            for one, loss in self.terms
        }


def _spoken_of(loss: Loss, labels: Tensor, heard: Tensor | None) -> Tensor:
    """`[units]` of bool: those that a term counts."""
    speaks = loss.speaks(labels)
    return speaks & heard if heard is not None and loss.needs_teacher else speaks


def _there(teacher: Answer) -> Tensor:
    """`[units]` of bool: where the teachers said something."""
    return ~teacher.logits.isnan().any(dim=1)


def _of_heard(
    loss: Loss,
    student: Answer,
    teacher: Answer | None,
    labels: Tensor,
    worth: Worth | None,
    heard: Tensor,
) -> Tensor:
    """A term's values, weighed, of the rows that the teachers speak of; none where there are
    none."""
    assert teacher is not None
    if not bool(heard.any()):
        return student.logits[:0, 0]
    answers = Answer(student.logits[heard]), Answer(teacher.logits[heard])
    values = loss.values(*answers, labels[heard])
    return values if worth is None else Worth(worth.rows[heard], worth.units[heard]).of(values)


def silent(student: Answer) -> Tensor:
    """A number that depends on the student's answer."""
    if isinstance(student, Unmultiplied) and student.head is not None:
        return student.head.hidden.sum()
    return student.logits.sum()


def takes_inputs(
    config: JobConfig, dataset: Dataset, scheme: Scheme, plans: Sequence[Plan]
) -> bool:
    """Whether a student without weights takes over its teacher's way of reading, for all stages:
    where one of them must share it, and of tokens in any case, so that both are judged by the same
    ones."""
    lessons = [Lesson(config, dataset, scheme, plan) for plan in plans]
    return any(one.shares_inputs or one.writes for one in lessons)


def spoken(one: terms.Loss) -> bool:
    """Whether a term's weight is ever more than 0."""
    return one.weight > 0 or bool(one.final_weight)


def loss_of(one: terms.Loss, problem: Problem) -> Loss:
    """The term with its options. Raises ConfigError."""
    method = LOSSES[one.kind]
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in one.options.items()
    }
    return method(method.Options(**values), problem)


def with_columns(dataset: Dataset, losses: Sequence[terms.Loss]) -> Dataset:
    """The dataset as these terms read it. Raises ConfigError where it lacks a column of theirs."""
    wanted = {one.kind: LOSSES[one.kind].needs_column for one in losses}
    there = set(pq.ParquetFile(dataset.path).schema_arrow.names)
    for kind, name in wanted.items():
        lacking = {name, *(["prompt"] if name == "rationale" else [])} - there
        if name and lacking:
            beside = " beside prompts" if name == "rationale" else ""
            sentence = f"{kind} reads a column {name}{beside}; this dataset has none."
            raise ConfigError([Fault("losses", sentence)])
    return replace(dataset, rationales="rationale" in wanted.values())


def scheme_of(config: JobConfig) -> Scheme:
    method = SCHEMES[config.scheme]
    return method(method.Options(**config.scheme_options))


def wanted_by(losses: Sequence[terms.Loss], problem: Problem) -> Wanted:
    """What these terms look at beside the logits."""
    wanted = NOTHING
    for one in losses:
        wanted = wanted | loss_of(one, problem).wants
    return wanted
