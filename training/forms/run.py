"""The run form between two requests: what was chosen and typed so far, completed with what suits
it. It judges nothing; the same service that launches says what is wrong, and where."""

import json
import re
from collections.abc import Mapping
from typing import Any, Self

from django.http import QueryDict

from distillhub.lib.errors import DomainError, Invalid
from projects.models import Project
from training import catalog
from training.engine import config as engine_config
from training.engine import terms as engine_terms
from training.forms import fields, presets, run_choices
from training.services import runs

MAIN_TRAINING = ("epochs", "batch_size", "learning_rate", "early_stopping", "seed")
SYMBOL_T = re.compile(r"(?<![A-Za-z])T(?![A-Za-z])")

Texts = dict[str, str]
MOST_TERMS = 20
LONGEST_LOSSES = 10_000
SIMPLE = (str, int, float, bool, type(None))  # what options are, alone or in a list


class RunDraft:
    """Texts as they were typed, and what the page shows around them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.methods = catalog.methods()
        self.name = ""
        self.dataset = ""
        self.student = ""
        self.teachers: list[str] = []
        self.shares: Texts = {}  # of several teachers, by reference
        self.preset = ""
        self.losses: list[Texts] = []
        self.training: Texts = {}
        self.teacher_outputs = "auto"
        self.queue = "default"
        self.control = True
        self.applied_preset = self.applied_student = ""
        self.faults: dict[str, list[str]] = {}
        self.resolved: dict[str, Any] | None = None

    # Where a draft comes from -----------------------------------------------------------------

    @classmethod
    def from_address(cls, project: Project, asked: QueryDict) -> Self:
        """A first page, with whatever a link elsewhere already chose. Raises Invalid where its
        `losses` are no JSON list of losses."""
        draft = cls(project)
        draft.dataset = asked.get("dataset", "")
        draft.student = asked.get("student", "")
        draft.teachers = asked.getlist("teacher")
        draft.preset = asked.get("preset", "")
        handed_over = asked.get("losses", "")
        if handed_over:
            draft.losses = _handed_over(handed_over)
            draft.preset = draft.applied_preset = "custom"
        draft._settle()
        return draft

    @classmethod
    def from_configuration(cls, project: Project, configuration: Mapping[str, Any]) -> Self:
        """The configuration of another run, to begin from."""
        draft = cls(project)
        draft.name = configuration.get("name", "")
        draft.dataset, draft.student = configuration["dataset"], configuration["student"]
        for teacher in configuration.get("teachers", []):
            if isinstance(teacher, Mapping):
                draft.teachers.append(teacher["model"])
                draft.shares[teacher["model"]] = fields.written(teacher.get("weight", 1.0))
            else:
                draft.teachers.append(teacher)
        draft.losses = [
            {name: fields.written(value) for name, value in loss.items()}
            for loss in configuration.get("losses", [])
        ]
        draft.training = {
            name: fields.written(value) for name, value in configuration.get("training", {}).items()
        }
        draft.teacher_outputs = configuration.get("teacher_outputs", "auto")
        draft.queue = configuration.get("resources", {}).get("queue", "default")
        draft.control = bool(configuration.get("control", True))
        every = [*draft.methods["presets"]]
        draft.preset = draft.applied_preset = presets.matching(
            every, configuration.get("losses", [])
        )
        draft.applied_student = draft.student
        draft._settle()
        return draft

    @classmethod
    def from_post(cls, project: Project, posted: QueryDict) -> Self:
        """What a form holds, after the action that sent it (`add:<kind>`, `remove:<place>`)."""
        draft = cls(project)
        texts: Texts = {name: str(value) for name, value in posted.items()}
        draft.name = texts.get("name", "")[:200]
        draft.dataset, draft.student = texts.get("dataset", ""), texts.get("student", "")
        draft.teachers = posted.getlist("teachers")
        draft.shares = fields.under("share", texts)
        draft.preset = texts.get("preset", "")
        draft.losses = _listed(fields.under("losses", texts))
        draft.training = fields.under("training", texts)
        draft.teacher_outputs = texts.get("teacher_outputs", "auto")
        draft.queue = texts.get("resources.queue", "default")
        draft.control = texts.get("control") == "true"
        draft.applied_preset = texts.get("applied.preset", "")
        draft.applied_student = texts.get("applied.student", "")
        draft._act(texts.get("action", ""))
        draft._settle()
        return draft

    def _act(self, action: str) -> None:
        verb, _, what = action.partition(":")
        if verb == "remove" and what.isdigit() and int(what) < len(self.losses):
            del self.losses[int(what)]
        elif verb == "add" and engine_terms.find(self.methods, "losses", what):
            self.losses.append({"kind": what, "weight": "1"})
        else:
            return
        self.preset = self.applied_preset = "custom"

    def _settle(self) -> None:
        """Complete what depends on a choice that was just made."""
        self.datasets = run_choices.datasets(self.project, self.dataset)
        offered = {choice.reference: choice for choice in self.datasets}
        if not self.dataset and self.datasets:
            self.dataset = self.datasets[0].reference
        self.chosen_dataset = offered.get(self.dataset)
        shown = self.chosen_dataset or next(iter(self.datasets), None)
        self.task = shown.task if shown else ""
        picked = [self.student, *self.teachers]
        self.models = run_choices.models(self.project, self.task, picked)
        self.teacher_choices = [choice for choice in self.models if choice.is_trained]
        self._settle_preset()
        self._settle_models()
        self._settle_training()

    def _settle_preset(self) -> None:
        self.presets = presets.offered(self.methods, self.task)
        by_key = {preset["key"]: preset for preset in self.presets}
        if self.preset not in by_key:
            self.preset = "soft_targets" if self.teacher_choices else "fine_tune"
        losses = by_key.get(self.preset, presets.CUSTOM)["losses"]
        if self.preset != self.applied_preset and losses:
            self.losses = [
                {name: fields.written(value) for name, value in loss.items()} for loss in losses
            ]
        if not self.losses:
            self.losses = [{"kind": "hard_labels", "weight": "1"}]
        self.applied_preset = self.preset

    def _settle_models(self) -> None:
        known = {choice.reference: choice for choice in self.models}
        trained = {choice.reference for choice in self.teacher_choices}
        self.teachers = [one for one in self.teachers if one in trained]
        if not self.uses_teachers:
            self.teachers = []
        elif not self.teachers:
            first = [one for one in self.teacher_choices if one.role == "teacher"]
            self.teachers = [one.reference for one in (first or self.teacher_choices)[:1]]
        if self.student not in known:
            role = "student" if self.uses_teachers or self.teacher_choices else "teacher"
            suited = [
                choice
                for choice in self.models
                if not choice.is_trained and choice.reference not in self.teachers
            ]
            suited.sort(key=lambda choice: choice.role != role)
            self.student = suited[0].reference if suited else ""
        # The cast's own role first: students where somebody teaches them.
        shown_first = "student" if self.uses_teachers else "teacher"
        self.models.sort(key=lambda choice: choice.role != shown_first)
        self.chosen_student = known.get(self.student)
        self.chosen_teachers = [known[one] for one in self.teachers]

    def _settle_training(self) -> None:
        """Take over what the student's architecture recommends, where nothing else was typed."""
        described = self.methods["training"]
        known = {choice.reference: choice for choice in self.models}
        before = self._suited(known.get(self.applied_student))
        self.suited = self._suited(self.chosen_student)
        for one in described:
            name = one["name"]
            now = fields.written(self.suited.get(name, one["default"]))
            then = fields.written(before.get(name, one["default"]))
            typed = self.training.get(name)
            if typed is None or (typed == then and self.student != self.applied_student):
                self.training[name] = now
        self.applied_student = self.student

    def _suited(self, student: run_choices.ModelChoice | None) -> dict[str, Any]:
        if student is None:
            return {}
        return engine_config.recommended(self.methods, student.architecture, student.is_trained)

    # What it asks for -------------------------------------------------------------------------

    @property
    def uses_teachers(self) -> bool:
        return any(self._loss(term["kind"]).get("needs_teacher") for term in self.losses)

    def configuration(self) -> dict[str, Any]:
        """A run configuration as REST would take it."""
        described = self.methods["training"]
        return {
            "name": self.name.strip(),
            "task": self.task,
            "dataset": self.dataset,
            "student": self.student,
            "teachers": [self._teacher(one) for one in self.teachers],
            "losses": [
                {
                    "kind": term["kind"],
                    **fields.read(self._described(term["kind"]), term),
                    **_timed(term),
                }
                for term in self.losses
            ],
            "training": fields.read(described, self.training),
            "teacher_outputs": self.teacher_outputs,
            "control": self.control and bool(self.teachers),
            "resources": {"queue": self.queue.strip() or "default"},
        }

    def check(self) -> bool:
        """Ask the service; afterwards `faults` or `resolved` are filled."""
        try:
            self.resolved = runs.preview(project=self.project, configuration=self.configuration())
        except DomainError as error:
            self.refuse(error)
            return False
        return True

    def refuse(self, error: DomainError) -> None:
        self.faults = dict(error.fields) or {"": [error.detail]}

    def _teacher(self, reference: str) -> Any:
        share = fields.typed({"type": "float"}, self.shares.get(reference, ""))
        if len(self.teachers) < 2 or share is fields.UNWRITTEN or share == 1.0:
            return reference
        return {"model": reference, "weight": share}

    def _loss(self, kind: str) -> Mapping[str, Any]:
        return engine_terms.find(self.methods, "losses", kind) or {}

    def _described(self, kind: str) -> list[dict[str, Any]]:
        weight = {
            "name": "weight", "type": "float", "default": 1.0, "nullable": False, "minimum": 0.0,
            "maximum": None, "choices": [], "label": "Weight",
            "help": "How much of the total this term makes.",
        }  # fmt: skip
        return [weight, *self._loss(kind).get("options", [])]

    # What the page shows ----------------------------------------------------------------------

    @property
    def preset_cards(self) -> list[tuple[presets.Preset, bool]]:
        """Each preset, and whether it can be chosen: some need a trained teacher."""
        return [
            (preset, bool(self.teacher_choices) or not preset["needs_teacher"])
            for preset in self.presets
        ]

    @property
    def teacher_faults(self) -> list[tuple[str, list[str]]]:
        """The path of each chosen teacher in the configuration, and what is wrong with it."""
        places = [f"teachers.{place}" for place in range(len(self.teachers))]
        return [(place, self.faults.get(place, [])) for place in places]

    @property
    def terms(self) -> list[dict[str, Any]]:
        """The losses with their fields, their share of the weights and their formula in numbers."""
        weights = [_number(term.get("weight", "1")) for term in self.losses]
        total = sum(weights) or 1.0
        return [
            {
                "place": place,
                "kind": term["kind"],
                "kind_at": f"losses.{place}.kind",
                "method": self._loss(term["kind"]),
                "fields": fields.shown(
                    self._described(term["kind"]),
                    term,
                    at=f"losses.{place}",
                    faults=self.faults,
                ),
                "over_time": fields.shown(
                    engine_terms.SCHEDULE, term, at=f"losses.{place}", faults=self.faults
                ),
                "is_timed": bool(_timed(term)),
                "weight": f"{weight:g}",
                "share": round(100 * weight / total, 1),
                "formula": self._formula(term),
            }
            for place, (term, weight) in enumerate(zip(self.losses, weights, strict=True))
        ]

    def _formula(self, term: Texts) -> str:
        formula = str(self._loss(term["kind"]).get("formula", term["kind"]))
        temperature = term.get("temperature", "").strip()
        return SYMBOL_T.sub(temperature, formula) if temperature else formula

    @property
    def addable(self) -> list[Mapping[str, Any]]:
        """The losses of this task that are not there yet."""
        present = {term["kind"] for term in self.losses}
        return [
            loss
            for loss in self.methods["losses"]
            if loss["key"] not in present and self.task in loss["tasks"]
        ]

    @property
    def main_training(self) -> list[fields.OptionField]:
        shown = {field.name.removeprefix("training."): field for field in self._training_fields()}
        return [shown[name] for name in MAIN_TRAINING if name in shown]

    @property
    def advanced_training(self) -> list[fields.OptionField]:
        return [
            field
            for field in self._training_fields()
            if field.name.removeprefix("training.") not in MAIN_TRAINING
        ]

    def _training_fields(self) -> list[fields.OptionField]:
        return fields.shown(
            self.methods["training"],
            self.training,
            at="training",
            faults=self.faults,
            defaults=self.suited,
        )

    @property
    def has_advanced_news(self) -> bool:
        """Whether something in the folded part was changed or is wrong."""
        return any(field.is_changed or field.errors for field in self.advanced_training)

    @property
    def steps(self) -> int | None:
        """Optimizer steps of one run, where the numbers are numbers."""
        if self.resolved is None or self.chosen_dataset is None:
            return None
        training = self.resolved["training"]
        rows = training["batch_size"] * training["gradient_accumulation"]
        per_epoch = -(-self.chosen_dataset.training_rows // rows)
        return int(per_epoch * training["epochs"])

    @property
    def compression(self) -> float | None:
        sizes = [teacher.parameters for teacher in self.chosen_teachers if teacher.parameters]
        student = self.chosen_student.parameters if self.chosen_student else None
        return max(sizes) / student if sizes and student else None

    @property
    def warnings(self) -> list[str]:
        """What may run but is probably not meant."""
        told: list[str] = []
        if self.compression is not None and self.compression < 1:
            told.append("The student has more parameters than its teacher.")
        if self.teachers and not self.control:
            told.append("Without its control nobody can tell whether the teacher helped.")
        return told

    @property
    def faults_json(self) -> str:
        return json.dumps(self.faults)

    @property
    def resolved_json(self) -> str:
        return json.dumps(self.resolved or self.configuration(), indent=2, ensure_ascii=False)


def _listed(texts: Texts) -> list[Texts]:
    """`{"0.kind": ..., "0.weight": ..., "2.kind": ...}` as a list in the order of its numbers."""
    grouped: dict[int, Texts] = {}
    for name, value in texts.items():
        place, _, option = name.partition(".")
        if place.isascii() and place.isdigit() and option:
            grouped.setdefault(int(place), {})[option] = value
    return [grouped[place] for place in sorted(grouped) if grouped[place].get("kind")][:MOST_TERMS]


def _timed(term: Texts) -> dict[str, Any]:
    """How its weight changes while a run trains, where that was chosen."""
    defaults = {one["name"]: one["default"] for one in engine_terms.SCHEDULE}
    read = fields.read(engine_terms.SCHEDULE, term)
    return {name: value for name, value in read.items() if value != defaults[name]}


def _handed_over(text: str) -> list[Texts]:
    """Losses from an address, as texts; the service judges them like those that were typed."""
    broken = Invalid("The losses of this address are no list of losses. Open the form without it.")
    if len(text) > LONGEST_LOSSES:
        raise broken
    try:
        losses = json.loads(text)
    except (ValueError, RecursionError):
        raise broken from None
    if not isinstance(losses, list) or not 1 <= len(losses) <= MOST_TERMS:
        raise broken
    for loss in losses:
        if not isinstance(loss, dict) or not isinstance(loss.get("kind"), str):
            raise broken
        for value in loss.values():
            parts = value if isinstance(value, list) else [value]
            if not all(isinstance(part, SIMPLE) for part in parts):
                raise broken
    return [{name: fields.written(value) for name, value in loss.items()} for loss in losses]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e9 else 0.0
