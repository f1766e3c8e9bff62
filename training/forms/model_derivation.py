"""The part of a new model's form that makes it of a teacher: which version, how, and by what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from projects.models import ModelVersion, Project
from training import catalog
from training.forms import fields, run_choices
from training.services import derivations

OFFERED = 100  # versions listed


@dataclass(frozen=True, slots=True)
class MethodCard:
    """A way to make a student, and why not of the chosen version."""

    key: str
    label: str
    summary: str
    refusal: str

    @property
    def reason(self) -> str:
        """The refusal without what the card says already."""
        reason = self.refusal.partition(": ")[2] or self.refusal
        return reason[:1].upper() + reason[1:]


class DerivationDraft:
    """Texts as they were typed. A method that cannot be done with the chosen version gives way to
    the first that can."""

    def __init__(self, project: Project, task: str, texts: Mapping[str, str]) -> None:
        self.project = project
        self.task = task
        self.giver = texts.get("from", "").strip()
        self.method = texts.get("method", "")
        self.dataset = texts.get("rows", "").strip()
        self.texts = fields.under("options", texts)
        if not self.giver and self.choices:
            self.giver = self.choices[0].reference
        able = [card.key for card in self.methods if not card.refusal]
        if self.method not in able:
            self.method = (able or [self.methods[0].key])[0]
        if texts.get("applied.method", "") != self.method:
            self.texts = {}

    @cached_property
    def choices(self) -> list[run_choices.ModelChoice]:
        """Of each model of this task the newest version with weights, teachers first, and the one
        that was asked for."""
        versions = (
            ModelVersion.objects.ready()
            .filter(model__project=self.project, model__task=self.task)
            .exclude(files=[])
            .select_related("model")
            .order_by("-model__role", "model__name", "-number")
        )
        chosen, seen = [], set()
        for version in versions[: 10 * OFFERED]:
            if version.model_id in seen and version.reference != self.giver:
                continue
            seen.add(version.model_id)
            chosen.append(run_choices.of(version))
        return chosen[:OFFERED]

    @cached_property
    def chosen(self) -> run_choices.ModelChoice | None:
        return next((one for one in self.choices if one.reference == self.giver), None)

    @cached_property
    def methods(self) -> list[MethodCard]:
        chosen = self.chosen
        return [
            MethodCard(
                one["key"],
                one["label"],
                one["summary"],
                ""
                if chosen is None
                else derivations.refusal(one, chosen.architecture, altered=chosen.is_altered),
            )
            for one in catalog.methods()["derivations"]
            if self.task in one["tasks"]
        ]

    @property
    def described(self) -> Mapping[str, Any]:
        found = catalog.find("derivations", self.method)
        assert found is not None
        return found

    @cached_property
    def datasets(self) -> list[run_choices.DatasetChoice]:
        """Whose rows may say what to keep; none where the method looks at no data."""
        if not self.described["measures"]:
            return []
        return [
            one for one in run_choices.datasets(self.project, self.dataset) if one.task == self.task
        ]

    def options(self, faults: Mapping[str, Sequence[str]]) -> list[fields.OptionField]:
        return fields.shown(self.described["options"], self.texts, at="options", faults=faults)

    def source(self) -> dict[str, Any]:
        asked = {
            "kind": "derived",
            "from": self.giver,
            "method": self.method,
            "options": fields.read(self.described["options"], self.texts),
        }
        if self.dataset and self.described["measures"]:
            asked["dataset"] = self.dataset
        return asked
