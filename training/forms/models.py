"""The form of a new model or version between two requests: its source, and the options of the
architecture that was chosen."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import IO, Any, Self
from urllib.parse import urlencode

from django.http import QueryDict

from distillhub.lib.errors import DomainError, Invalid
from projects.ingest.formats import EMBEDDING_TASK
from projects.models import DatasetVersion, Project, RegisteredModel
from training import catalog
from training.forms import fields, model_api, model_together
from training.forms.model_api import ApiDraft
from training.forms.model_derivation import DerivationDraft
from training.forms.model_together import EnsembleDraft, RecordedDraft
from training.models import Run

Texts = dict[str, str]

SOURCES: list[Mapping[str, str]] = [
    {
        "key": "architecture",
        "label": "Build one",
        "icon": "sitemap",
        "summary": "An architecture with a size of your choice, trained from nothing.",
    },
    {
        "key": "derived",
        "label": "Make from a teacher",
        "icon": "git-fork",
        "summary": "A smaller one that begins with a trained model's weights.",
    },
    {
        "key": "hub",
        "label": "Hugging Face",
        "icon": "cloud-download",
        "summary": "A repository with safetensors, pinned to one commit.",
    },
    {
        "key": "upload",
        "label": "Upload",
        "icon": "upload",
        "summary": "A zipped folder as save_pretrained writes it.",
    },
    {
        "key": "api",
        "label": "Through an API",
        "icon": "plug",
        "summary": "A service, OpenAI-compatible or Bedrock, that labels and writes data.",
    },
    {
        "key": "column",
        "label": "Recorded answers",
        "icon": "columns",
        "summary": "Soft labels, or labels, that stand in the columns of a dataset.",
    },
    {
        "key": "ensemble",
        "label": "Several together",
        "icon": "users",
        "summary": "Models of yours that teach as one: the mean of their probabilities.",
    },
    {
        "key": "run",
        "label": "Result of a run",
        "icon": "activity",
        "summary": "What a finished run left, under a name of its own.",
    },
]

TYPED = (
    "source", "architecture", "model_type", "more", "initialise_from", "hub_id", "revision", "run",
    "name", "description",
)  # fmt: skip
#: What a list of transformers' model types begins with.
FAMILIAR = ("distilbert", "bert", "resnet", "mobilenet_v2", "vit")
#: Fields of the page whose faults stand beside them.
NAMED = {
    "name", "task", "role", "description", "id", "revision", "file", "run", "more", "architecture",
    "initialise_from", "from", "method", "dataset", *model_api.NAMED, *model_together.NAMED,
}  # fmt: skip


class ModelDraft:
    """Texts as they were typed; `model` is set when a version is added to a model."""

    def __init__(self, project: Project, model: RegisteredModel | None = None) -> None:
        self.project = project
        self.model = model
        self.methods = catalog.methods()
        self.faults: dict[str, list[str]] = {}
        self.role = model.role if model else "student"
        self.task = model.task if model else ""
        self.name = self.description = ""
        self.source = "api" if model is not None and model_api.newest(model) else "architecture"
        self.architecture = self.applied_architecture = self.model_type = ""
        self.config: Texts = {}
        self.more = ""  # JSON of what an open architecture takes beyond its options
        self.initialise_from = self.hub_id = self.revision = self.run = ""
        self.texts: Texts = {}  # all that was sent, for the parts of the form that read their own
        self.members: list[str] = []  # of an ensemble

    @classmethod
    def from_address(
        cls, project: Project, asked: QueryDict, model: RegisteredModel | None = None
    ) -> Self:
        draft = cls(project, model)
        draft._take({name: str(value) for name, value in asked.items()})
        draft.members = asked.getlist("members")
        draft._settle()
        return draft

    @classmethod
    def from_post(
        cls, project: Project, posted: QueryDict, model: RegisteredModel | None = None
    ) -> Self:
        draft = cls(project, model)
        texts = {name: str(value) for name, value in posted.items()}
        draft._take(texts)
        draft.members = posted.getlist("members")
        draft.config = fields.under("config", texts)
        draft.applied_architecture = texts.get("applied.architecture", "")
        draft._settle()
        action = texts.get("action", "")
        if action.startswith("size:"):
            draft._resize(action.removeprefix("size:"))
        return draft

    def _take(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        for name in TYPED:
            setattr(self, name, texts.get(name, getattr(self, name)))
        if self.model is None:
            asked = texts.get("role", self.role)
            self.role = asked if asked in RegisteredModel.ModelRole else self.role
            self.task = texts.get("task", "")

    def _settle(self) -> None:
        """Complete what depends on a choice that was just made."""
        tasks = [task["key"] for task in self.methods["tasks"]]
        if self.task not in tasks:
            newest: str | None = (
                DatasetVersion.objects.filter(dataset__project=self.project)
                .order_by("-pk")
                .values_list("dataset__task", flat=True)
                .first()
            )
            self.task = newest if newest is not None and newest in tasks else tasks[0]
        if self.source not in {source["key"] for source in self.sources}:
            self.source = "architecture"
        architectures = catalog.architectures(self.task)
        self.small = [one for one in architectures if one["kind"] == "small"]
        self.transformers = [one for one in architectures if one["kind"] != "small"]
        offered = {one["key"]: one for one in architectures}
        if self.architecture == "transformers":  # the card, with a list of its own
            known = [one["key"] for one in self.transformers]
            familiar = [key for key in FAMILIAR if key in known]
            self.architecture = (
                self.model_type if self.model_type in known else (familiar or known or [""])[0]
            )
        if self.architecture not in offered:
            suited = [one for one in architectures if self.task in one["default_for"]]
            self.architecture = (suited or architectures)[0]["key"]
        self.chosen = offered[self.architecture]
        if self.applied_architecture != self.architecture:
            self.config = {}
        self.applied_architecture = self.architecture

    def _resize(self, size: str) -> None:
        for one in self.chosen.get("sizes", []):
            if one["key"] == size:
                self.config |= {
                    name: fields.written(value) for name, value in one["config"].items()
                }

    # What it asks for -------------------------------------------------------------------------

    def arguments(self, files: IO[bytes] | None) -> dict[str, Any]:
        """Keyword arguments of `networks.register`, or of `networks.add_version`. Raises Invalid
        for JSON that is none."""
        asked: dict[str, Any] = {"source": self._source(), "files": files}
        if self.model is not None:
            return asked | {"model": self.model}
        return asked | {
            "project": self.project,
            "name": self.name,
            "role": self.role,
            "task": self.task,
            "description": self.description,
        }

    def _source(self) -> dict[str, Any]:
        if self.source == "derived":
            return self.derived.source()
        if self.source == "api":
            return self.api.source()
        if self.source == "column":
            return self.recorded.source()
        if self.source == "ensemble":
            return self.together.source()
        if self.source == "hub":
            return {"kind": "hub", "id": self.hub_id.strip(), "revision": self.revision.strip()}
        if self.source == "upload":
            return {"kind": "upload"}
        if self.source == "run":
            number = int(self.run) if self.run.isascii() and self.run.isdigit() else None
            return {"kind": "run", "run": number}
        config = fields.read(self.chosen["options"], self.config) | self._more()
        source = {"kind": "architecture", "architecture": self.architecture, "config": config}
        if self.initialise_from.strip():
            source["initialise_from"] = self.initialise_from.strip()
        return source

    def _more(self) -> dict[str, Any]:
        if not self.more.strip() or not self.chosen.get("open"):
            return {}
        try:
            more = json.loads(self.more)
        except (ValueError, RecursionError):
            more = None
        if not isinstance(more, dict):
            sentence = 'This is no JSON object, such as {"hidden_act": "relu"}.'
            raise Invalid(sentence, fields={"source.more": [sentence]})
        return more

    def refuse(self, error: DomainError) -> None:
        named: dict[str, list[str]] = {}
        for name, sentences in error.fields.items():
            at = name.removeprefix("source.")
            if at.partition(".")[0] in ("members", "weights"):  # of one of them
                at = at.partition(".")[0]
            named.setdefault(at, []).extend(sentences)
        self.faults = named or {"": [error.detail]}

    # What the page shows ----------------------------------------------------------------------

    @property
    def api(self) -> ApiDraft:
        return ApiDraft(self.texts, self.faults, self.model)

    @cached_property
    def recorded(self) -> RecordedDraft:
        return RecordedDraft(self.project, self.task, self.texts)

    @cached_property
    def together(self) -> EnsembleDraft:
        return EnsembleDraft(self.project, self.task, self.texts, self.members)

    @cached_property
    def derived(self) -> DerivationDraft:
        return DerivationDraft(self.project, self.task, self.texts)

    @property
    def options(self) -> list[fields.OptionField]:
        if self.source == "derived":
            return self.derived.options(self.faults)
        return fields.shown(self.chosen["options"], self.config, at="config", faults=self.faults)

    @property
    def loose_faults(self) -> list[str]:
        """Sentences that belong to no field of this page."""
        shown = {field.name for field in self.options} | NAMED
        return [
            f"{name}: {' '.join(sentences)}" if name else " ".join(sentences)
            for name, sentences in self.faults.items()
            if name not in shown
        ]

    @property
    def address(self) -> str:
        """What the form's address says besides its path."""
        return f"?{urlencode({'model': self.model.name})}" if self.model else ""

    @property
    def uses_transformers(self) -> bool:
        return bool(self.chosen["kind"] != "small")

    @property
    def tasks(self) -> list[Mapping[str, Any]]:
        return list(self.methods["tasks"])

    @property
    def sources(self) -> list[Mapping[str, str]]:
        teaches = self.role == "teacher"
        left_out = {
            "api": not teaches or self.task not in model_api.TASKS,
            "column": not teaches or not model_together.may_be_recorded(self.task),
            "ensemble": not teaches or self.task == EMBEDDING_TASK,
        }
        return [one for one in SOURCES if not left_out.get(one["key"])]

    @property
    def runs(self) -> list[Run]:
        """Runs of this task that left a model."""
        found = Run.objects.filter(
            project=self.project, task=self.task, output__isnull=False
        ).order_by("-number")
        return list(found.only("number", "name")[:100])
