"""The page of recipes as its address has it: a library, its settings, and the project to run in."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from distillhub.lib.errors import DomainError
from projects.models import Project
from training import catalog
from training.forms import fields
from training.services import recipes


class RecipeDraft:
    """Texts as they were typed, and what they mean. `projects` are those that may be run in."""

    def __init__(self, asked: QueryDict, projects: Sequence[Project]) -> None:
        self.projects = projects
        self.recipes = recipes.listed()
        by_key = {recipe["key"]: recipe for recipe in self.recipes}
        key = asked.get("recipe", "")
        self.chosen = by_key.get(key) or self.recipes[0]
        texts = {name: str(value) for name, value in asked.items()}
        # Settings of a library that was chosen before say nothing about this one.
        same = asked.get("applied.recipe", key) == self.chosen["key"]
        self.texts = fields.under("options", texts) if same else {}
        self.classes = texts.get("classes", "")[:20]
        by_slug = {project.slug: project for project in projects}
        self.project = by_slug.get(asked.get("project", "")) or next(iter(projects), None)
        self.faults: dict[str, list[str]] = {}
        self.answer: dict[str, Any] | None = None
        self._translate()

    def _translate(self) -> None:
        number = fields.typed({"type": "int"}, self.classes)
        self._classes = number if isinstance(number, int) else None
        try:
            self.answer = recipes.translate(
                recipe=self.chosen["key"],
                options=fields.read(self.chosen["options"], self.texts),
                classes=self._classes,
            )
        except DomainError as error:
            self.faults = dict(error.fields) or {"": [error.detail]}

    @property
    def option_fields(self) -> list[fields.OptionField]:
        made = fields.shown(self.chosen["options"], self.texts, at="options", faults=self.faults)
        for field in made:
            field.label = field.name.removeprefix("options.")  # as the library spells it
        if self.chosen["counts_classes"]:
            made.append(
                fields.OptionField(
                    name="classes",
                    label="classes in your data",
                    help="Only where the library divides by their number.",
                    kind="int",
                    value=self.classes,
                    default="",
                    minimum=2,
                    nullable=True,
                    errors=self.faults.get("classes", []),
                )
            )
        return made

    @property
    def told(self) -> list[tuple[str, str]]:
        """What is wrong: where, and a sentence."""
        return [
            (at.removeprefix("options."), " ".join(sentences))
            for at, sentences in self.faults.items()
        ]

    @property
    def uses_teachers(self) -> bool:
        return any(term["method"].get("needs_teacher") for term in self.terms)

    @property
    def terms(self) -> list[dict[str, Any]]:
        """Our terms with their share of the weights, as the run form shows them."""
        losses = self.answer["losses"] if self.answer else []
        weights = [max(loss["weight"], loss.get("final_weight") or 0.0) for loss in losses]
        summed = sum(weights) or 1.0
        return [
            {
                "method": catalog.find("losses", loss["kind"]) or {"label": loss["kind"]},
                "weight": recipes.weight(loss),
                "formula": recipes.formula(loss),
                "share": round(100 * weight / summed, 1),
            }
            for loss, weight in zip(losses, weights, strict=True)
        ]

    @property
    def scheme(self) -> dict[str, Any]:
        """Who learns from whom, where it is not the plain way: its key as `kind`, and options."""
        asked = self.answer["scheme"] if self.answer else "offline"
        return asked if isinstance(asked, dict) else {}

    @property
    def scheme_label(self) -> str:
        found = catalog.find("schemes", self.scheme.get("kind", ""))
        return str(found["label"]) if found else ""

    @property
    def scheme_settings(self) -> list[tuple[str, str]]:
        return [(k, fields.written(v)) for k, v in self.scheme.items() if k != "kind"]

    @property
    def notes(self) -> list[str]:
        """Those about these settings first; the library's own where they mean nothing."""
        return list(self.answer["notes"]) if self.answer else list(self.chosen["traps"])

    @property
    def elsewhere(self) -> list[dict[str, Any]]:
        if self.answer is None:
            return []
        return recipes.elsewhere(
            losses=self.answer["losses"],
            scheme=self.answer["scheme"],
            beside=self.chosen["key"],
            classes=self._classes,
        )

    @property
    def faults_json(self) -> str:
        return json.dumps(self.faults)

    @property
    def losses_json(self) -> str:
        losses = self.answer["losses"] if self.answer else []
        return json.dumps(losses, indent=2, ensure_ascii=False)

    @property
    def run_url(self) -> str:
        """The run form with these losses, or nothing."""
        if self.answer is None or self.project is None:
            return ""
        handed = {"losses": json.dumps(self.answer["losses"], separators=(",", ":"))}
        if self.scheme:
            handed |= {f"scheme.{name}": fields.written(v) for name, v in self.scheme.items()}
        return f"{reverse('training:run_new', args=[self.project.slug])}?{urlencode(handed)}"
