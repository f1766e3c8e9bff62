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
from training.forms import fields, presets, run_choices, run_terms, run_yaml
from training.forms.run_terms import Part, Texts
from training.services import launching

LONGEST_LOSSES = 10_000
ACTION = re.compile(r"(?:stages\.(\d)\.)?(add|remove|up|down|drop)(?::(\w+))?", re.ASCII)


class Draft:
    """Texts as they were typed, and the configuration that they mean."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.methods = catalog.methods()
        self.name = ""
        self.dataset = ""
        self.student = ""
        self.teachers: list[str] = []
        self.shares: Texts = {}  # of several teachers, by reference
        self.preset = ""
        self.scheme: Texts = {"kind": "offline"}
        self.parts: list[Part] = []  # one; as many as there are stages in the scheme "staged"
        self.training: Texts = {}
        self.teacher_outputs = "auto"
        self.top_k = ""
        self.exports: list[str] = []
        self.queue = "default"
        self.gpus = "0"
        self.memory = ""  # MiB
        self.priority = "normal"
        self.slices = ""  # columns, with commas between
        self.control = True
        self.applied_preset = self.applied_student = ""
        self.is_written = False  # edited as YAML
        self.text = ""
        self.asked: dict[str, Any] | None = None  # what that text says
        self.unreadable: run_yaml.Unreadable | None = None
        self.replaced: list[str] = []  # models that a link named and nobody has
        self.faults: dict[str, list[str]] = {}
        self.resolved: dict[str, Any] | None = None
        self.estimates: dict[str, Any] = {}
        self.foreseen: list[str] = []

    # Where a draft comes from -----------------------------------------------------------------

    @classmethod
    def from_address(cls, project: Project, asked: QueryDict) -> Self:
        """A first page, with whatever a link elsewhere already chose. Raises Invalid where its
        `losses` are no JSON list of losses."""
        draft = cls(project)
        draft.dataset = asked.get("dataset", "")
        draft.student = asked.get("student", "")
        draft.teachers = asked.getlist("teacher")
        named = [one for one in (draft.student, *draft.teachers) if one]
        draft.preset = asked.get("preset", "")
        handed_over = asked.get("losses", "")
        if handed_over:
            draft.parts = [Part(_handed_over(handed_over))]
            chosen = {name: str(value) for name, value in asked.items()}
            draft.scheme = _scheme(fields.under("scheme", chosen))
            draft.preset = draft.applied_preset = "custom"
        draft._settle()
        kept = (draft.student, *draft.teachers)
        draft.replaced = [one for one in named if one not in kept]
        return draft

    @classmethod
    def from_configuration(cls, project: Project, configuration: Mapping[str, Any]) -> Self:
        """The configuration of another run, to begin from; parts of it that have another shape
        than a configuration's are passed over."""
        draft = cls(project)
        draft.name = _word(configuration.get("name"))
        draft.dataset = _word(configuration.get("dataset"))
        draft.student = _word(configuration.get("student"))
        for teacher in _items(configuration.get("teachers")):
            asked = teacher if isinstance(teacher, Mapping) else {"model": teacher}
            reference = _word(asked.get("model"))
            draft.teachers.append(reference)
            if "weight" in asked:
                draft.shares[reference] = fields.written(asked["weight"])
        draft.scheme = _scheme(configuration.get("scheme"))
        draft.parts = [
            Part(
                losses=_terms(stage.get("losses")),
                name=_word(stage.get("name")),
                epochs=fields.written(stage.get("epochs")),
                learning_rate=fields.written(stage.get("learning_rate")),
            )
            for stage in _items(configuration.get("stages"))
            if isinstance(stage, Mapping) and draft.scheme["kind"] == "staged"
        ] or [Part(_terms(configuration.get("losses")))]
        draft.training = run_terms.written(_object(configuration.get("training")))
        draft.teacher_outputs = _word(configuration.get("teacher_outputs")) or "auto"
        draft.top_k = fields.written(configuration.get("top_k"))
        draft.exports = [_word(one) for one in _items(configuration.get("exports"))]
        resources = _object(configuration.get("resources"))
        draft.queue = _word(resources.get("queue")) or "default"
        draft.gpus = fields.written(resources.get("gpus", 0))
        draft.memory = fields.written(resources.get("memory_mib"))
        draft.priority = _word(configuration.get("priority")) or "normal"
        slices = _items(_object(configuration.get("evaluation")).get("slices"))
        draft.slices = ", ".join(_word(one) for one in slices)
        draft.control = configuration.get("control", True) is True
        draft.applied_student = draft.student
        draft._settle_data()
        found = catalog.preset_of(configuration, task=draft.task, problem=draft.problem)
        draft.preset = draft.applied_preset = str((found or presets.CUSTOM)["key"])
        draft._settle()
        return draft

    @classmethod
    def from_post(cls, project: Project, posted: QueryDict) -> Self:
        """What a form holds, after the action that sent it: `add:<kind>`, `remove:<place>`,
        `stages.1.up`, `written` (edit it as YAML), `guided` (back from there), …"""
        texts: Texts = {name: str(value) for name, value in posted.items()}
        action = texts.get("action", "")
        if texts.get("mode") == "yaml":
            draft = cls._from_text(project, texts.get("yaml", ""))
            if action == "guided" and draft.check():
                assert draft.resolved is not None
                return cls.from_configuration(project, draft.resolved)
            return draft
        draft = cls(project)
        draft.name = texts.get("name", "")[:200]
        draft.dataset, draft.student = texts.get("dataset", ""), texts.get("student", "")
        draft.teachers = posted.getlist("teachers")
        draft.shares = fields.under("share", texts)
        draft.preset = texts.get("preset", "")
        draft.scheme = _scheme(fields.under("scheme", texts))
        if draft.scheme.get("kind") != texts.get("applied.scheme"):
            draft.scheme = {"kind": draft.scheme.get("kind", "offline")}
        draft.parts = run_terms.parts(fields.under("stages", texts)) or [
            Part(run_terms.listed(fields.under("losses", texts)))
        ]
        draft.training = fields.under("training", texts)
        draft.teacher_outputs = texts.get("teacher_outputs", "auto")
        draft.top_k = texts.get("top_k", "")
        draft.exports = posted.getlist("exports")
        draft.queue = texts.get("resources.queue", "default")
        draft.gpus = texts.get("resources.gpus", "0")
        draft.memory = texts.get("resources.memory_mib", "")
        draft.priority = texts.get("priority", "normal")
        draft.slices = texts.get("evaluation.slices", "")
        draft.control = texts.get("control") == "true"
        draft.applied_preset = texts.get("applied.preset", "")
        draft.applied_student = texts.get("applied.student", "")
        draft._act(action)
        if draft.scheme["kind"] != texts.get("applied.scheme", draft.scheme["kind"]):
            draft.preset = draft.applied_preset = "custom"
        draft._settle()
        if action == "written":
            draft._write()
        return draft

    @classmethod
    def _from_text(cls, project: Project, text: str) -> Self:
        """What somebody wrote; of a text that cannot be read, nothing but the text."""
        try:
            asked = run_yaml.read(text)
        except run_yaml.Unreadable as error:
            draft = cls(project)
            draft.unreadable = error
            draft._settle()
        else:
            draft = cls.from_configuration(project, asked)
            draft.asked = asked
        draft.is_written, draft.text = True, text
        return draft

    def _write(self) -> None:
        """Go on as YAML: complete where all is right, else as far as it was typed."""
        self.check()
        self.asked = dict(self.resolved or self.configuration())
        if "stages" in self.asked:
            self.asked.pop("losses", None)  # those of the last stage again
        self.is_written, self.text = True, run_yaml.write(self.asked)

    def _act(self, action: str) -> None:
        found = ACTION.fullmatch(action)
        if action == "stages.add" and len(self.parts) < engine_terms.MOST_STAGES:
            self.parts.append(Part([{"kind": "soft_targets", "weight": "1"}]))
        elif found is None or not self._change(int(found[1] or 0), found[2], found[3] or ""):
            return
        self.preset = self.applied_preset = "custom"

    def _change(self, place: int, verb: str, what: str) -> bool:
        """Do it to a part; whether it could be done."""
        if place >= len(self.parts):
            return False
        losses = self.parts[place].losses
        match verb:
            case "add" if engine_terms.find(self.methods, "losses", what):
                losses.append({"kind": what, "weight": "1"})
            case "remove" if what.isdigit() and int(what) < len(losses):
                del losses[int(what)]
            case "drop" if len(self.parts) > 1:
                del self.parts[place]
            case "up" | "down":
                other = place + (1 if verb == "down" else -1)
                if not 0 <= other < len(self.parts):
                    return False
                self.parts[place], self.parts[other] = self.parts[other], self.parts[place]
            case _:
                return False
        return True

    def _settle(self) -> None:
        """Complete what depends on a choice that was just made."""
        self._settle_data()
        picked = [self.student, *self.teachers]
        labels = self.chosen_dataset.labels if self.chosen_dataset else ()
        self.models = run_choices.models(self.project, self.task, picked, labels)
        self.teacher_choices = [choice for choice in self.models if choice.can_teach]
        self._settle_preset()
        self._settle_scheme()
        self._settle_models()
        self._settle_training()

    def _settle_data(self) -> None:
        self.datasets = run_choices.datasets(self.project, self.dataset)
        offered = {choice.reference: choice for choice in self.datasets}
        if not self.dataset and self.datasets:
            tasks = run_choices.tasks(self.project, [self.student, *self.teachers])
            suited = [one for one in self.datasets if one.task in tasks]
            self.dataset = (suited or self.datasets)[0].reference
        self.chosen_dataset = offered.get(self.dataset)
        shown = self.chosen_dataset or next(iter(self.datasets), None)
        self.task = shown.task if shown else ""
        self.problem = shown.problem if shown else "single_label"
        self.presets = presets.offered(self.methods, self.task, self.problem)

    def _settle_preset(self) -> None:
        by_key = {preset["key"]: preset for preset in self.presets}
        if self.preset not in by_key:
            taught = bool(self.teacher_choices)
            suited = [one for one in self.presets if one["needs_teacher"] == taught]
            self.preset = str((suited or self.presets)[0]["key"])
        self.chosen_preset = by_key.get(self.preset, presets.CUSTOM)
        self.is_new_preset = self.preset != self.applied_preset and self.preset != "custom"
        if self.is_new_preset:
            self._apply(self.chosen_preset, by_key.get(self.applied_preset, presets.CUSTOM))
        self.applied_preset = self.preset

    def _apply(self, preset: presets.Preset, before: presets.Preset) -> None:
        """Fill in what a preset says, and take back what the one before it said."""
        self.scheme = _scheme(preset["scheme"])
        self.parts = [
            Part(
                losses=_terms(stage["losses"]),
                name=stage.get("name", ""),
                epochs=fields.written(stage.get("epochs")),
                learning_rate=fields.written(stage.get("learning_rate")),
            )
            for stage in preset["stages"]
        ] or [Part(_terms(preset["losses"]))]
        for name, value in before["training"].items():
            if self.training.get(name) == fields.written(value):
                del self.training[name]
        self.training |= run_terms.written(preset["training"])
        kept = [one for one in self.exports if one not in before["exports"]]
        self.exports = [*kept, *(one for one in preset["exports"] if one not in kept)]

    def _settle_scheme(self) -> None:
        """Stages where the scheme has some, else one list of terms; none of them empty."""
        if not self.is_staged:
            self.parts = [Part(self.parts[-1].losses)] if self.parts else [Part()]
        for part in self.parts:
            if not part.losses:
                part.losses = [{"kind": self._first_loss(), "weight": "1"}]

    def _first_loss(self) -> str:
        """Labels where they teach, else the first term that fits."""
        fitting = [
            loss["key"]
            for loss in self.methods["losses"]
            if run_terms.fits(loss, self.task, self.problem)
        ]
        return "hard_labels" if "hard_labels" in fitting or not fitting else str(fitting[0])

    def _settle_models(self) -> None:
        known = {choice.reference: choice for choice in self.models}
        trained = {choice.reference for choice in self.teacher_choices}
        self.teachers = [one for one in self.teachers if one in trained]
        wanted = max(self.chosen_preset["teachers"], 1) if self.is_new_preset else 1
        if not self.uses_teachers:
            self.teachers = []
        elif not self.brings_teacher:
            # One that was judged before one that was made by hand, and teachers before students.
            first = sorted(
                self.teacher_choices, key=lambda one: (one.score is None, one.role != "teacher")
            )
            others = [one.reference for one in first if one.reference not in self.teachers]
            self.teachers += others[: max(0, wanted - len(self.teachers))]
        trainable = {one for one in known if known[one].has_network}
        if self.student not in trainable:
            role = "student" if self.is_taught or self.teacher_choices else "teacher"
            suited = [
                choice
                for choice in self.models
                if choice.has_network
                and not choice.is_trained
                and choice.reference not in self.teachers
            ]
            suited.sort(key=lambda choice: choice.role != role)
            self.student = suited[0].reference if suited else ""
        # The cast's own role first: students where somebody teaches them.
        shown_first = "student" if self.is_taught else "teacher"
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
        return engine_config.recommended(self.methods, student.architecture, student.has_weights)

    # What it asks for -------------------------------------------------------------------------

    @property
    def chosen_scheme(self) -> Mapping[str, Any]:
        return engine_terms.find(self.methods, "schemes", self.scheme["kind"]) or {}

    @property
    def is_staged(self) -> bool:
        return self.scheme["kind"] == "staged"

    @property
    def brings_teacher(self) -> bool:
        return bool(self.chosen_scheme.get("brings_teacher"))

    @property
    def listens(self) -> bool:
        """Whether any term looks at what a teacher says."""
        return any(
            self.loss(term["kind"]).get("needs_teacher")
            for part in self.parts
            for term in part.losses
        )

    @property
    def uses_teachers(self) -> bool:
        wanted = self.listens or bool(self.chosen_scheme.get("needs_teacher"))
        return wanted and bool(self.chosen_scheme.get("takes_teachers", True))

    @property
    def is_taught(self) -> bool:
        """By given teachers, by the scheme itself, or by the reasons that a teacher wrote."""
        reasons = any(
            self.loss(term["kind"]).get("needs_column")
            for part in self.parts
            for term in part.losses
        )
        return self.uses_teachers or self.brings_teacher or reasons

    def configuration(self) -> dict[str, Any]:
        """A run configuration as REST would take it. Raises Invalid for a text that cannot be
        read."""
        if self.is_written:
            if self.unreadable is not None:
                raise Invalid(
                    "The YAML cannot be read.", fields={"yaml": [self.unreadable.sentence]}
                )
            return self.asked or {}
        described = self.methods["training"]
        return {
            "name": self.name.strip(),
            "task": self.task,
            "dataset": self.dataset,
            "student": self.student,
            "teachers": [self._teacher(one) for one in self.teachers],
            "scheme": engine_terms.scheme_as_dict(
                self.scheme["kind"],
                fields.read(self.chosen_scheme.get("options", []), self.scheme),
            ),
            **self._terms(),
            "training": fields.read(described, self.training),
            "teacher_outputs": self.teacher_outputs,
            **self._top_k(),
            "control": self.control and self.is_taught,
            "exports": self.exports,
            **self._evaluation(),
            "resources": {
                "queue": self.queue.strip() or "default",
                "gpus": fields.typed({"type": "int"}, self.gpus.strip() or "0"),
                **self._memory(),
            },
            **({"priority": self.priority} if self.priority != "normal" else {}),
        }

    def _memory(self) -> dict[str, Any]:
        memory = self.memory.strip()
        return {"memory_mib": fields.typed({"type": "int"}, memory)} if memory else {}

    def _terms(self) -> dict[str, Any]:
        lists = [
            [run_terms.values(self.methods, term) for term in part.losses] for part in self.parts
        ]
        if not self.is_staged:
            return {"losses": lists[0]}
        stages = [
            {
                "name": part.name.strip(),
                "losses": losses,
                **fields.read(
                    self.stage_options,
                    {"epochs": part.epochs, "learning_rate": part.learning_rate},
                ),
            }
            for part, losses in zip(self.parts, lists, strict=True)
        ]
        return {"stages": stages}

    def _top_k(self) -> dict[str, Any]:
        number = fields.typed({"type": "int"}, self.top_k)
        wanted = self.teacher_outputs == "top_k" and number is not fields.UNWRITTEN
        return {"top_k": number} if wanted else {}

    def _evaluation(self) -> dict[str, Any]:
        columns = [one.strip() for one in self.slices.split(",") if one.strip()]
        return {"evaluation": {"slices": columns}} if columns else {}

    @property
    def stage_options(self) -> list[dict[str, Any]]:
        """Of a stage: empty means the run's own."""
        return [
            {**engine_terms.find_option(self.methods["training"], name), "nullable": True}
            | {"default": None, "help": "Empty: the run's."}
            for name in ("epochs", "learning_rate")
        ]

    def check(self) -> bool:
        """Ask the service; afterwards `faults` or `resolved` are filled."""
        try:
            asked = self.configuration()
            found = launching.foresee(project=self.project, configuration=asked)
        except DomainError as error:
            self.refuse(error)
            return False
        # What is no part of the configuration, and is launched with it.
        beside = {name: asked[name] for name in ("priority",) if name in asked}
        self.resolved, self.estimates = found["config"] | beside, found["estimates"]
        self.foreseen = found["warnings"]
        return True

    def refuse(self, error: DomainError) -> None:
        self.faults = dict(error.fields) or {"": [error.detail]}

    def _teacher(self, reference: str) -> Any:
        share = fields.typed({"type": "float"}, self.shares.get(reference, ""))
        if len(self.teachers) < 2 or share is fields.UNWRITTEN or share == 1.0:
            return reference
        return {"model": reference, "weight": share}

    def loss(self, kind: str) -> Mapping[str, Any]:
        return engine_terms.find(self.methods, "losses", kind) or {}


def _handed_over(text: str) -> list[Texts]:
    """Losses from an address, as texts; the service judges them like those that were typed."""
    broken = Invalid("The losses of this address are no list of losses. Open the form without it.")
    if len(text) > LONGEST_LOSSES:
        raise broken
    try:
        losses = json.loads(text)
    except (ValueError, RecursionError):
        raise broken from None
    if not isinstance(losses, list) or not 1 <= len(losses) <= run_terms.MOST_TERMS:
        raise broken
    for loss in losses:
        if not isinstance(loss, dict) or not isinstance(loss.get("kind"), str):
            raise broken
        if not all(run_terms.simple(value) for value in loss.values()):
            raise broken
    return [run_terms.written(loss) for loss in losses]


def _scheme(value: Any) -> Texts:
    """`offline`, or `{"kind": "mutual", "students": 2}`, as texts."""
    texts = run_terms.written(value) if isinstance(value, Mapping) else {"kind": _word(value)}
    return texts if texts.get("kind") else {**texts, "kind": "offline"}


def _terms(value: Any) -> list[Texts]:
    losses = [
        run_terms.written(loss)
        for loss in _items(value)
        if isinstance(loss, Mapping) and isinstance(loss.get("kind"), str)
    ]
    return losses[: run_terms.MOST_TERMS]


def _word(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
