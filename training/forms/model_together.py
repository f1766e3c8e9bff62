"""The parts of a new model's form for teachers that are no network of their own: what was recorded
in a dataset's columns, and several models that speak together."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from projects.models import DatasetVersion, ModelVersion, Project
from training import catalog
from training.forms import fields, run_choices
from training.forms.run_choices import ModelChoice
from training.services import recorded_teachers

OFFERED = 100  # versions listed
#: Whose faults stand beside them.
NAMED = frozenset({"dataset", "column", "columns", "members", "weights"})


def may_be_recorded(task: str) -> bool:
    """Whether rows of a task have labels that somebody may have said."""
    found = catalog.find("tasks", task) or {}
    return bool(found.get("unit") == "row" and found.get("needs_labels"))


class RecordedDraft:
    """Which dataset version, and which of its columns."""

    def __init__(self, project: Project, task: str, texts: Mapping[str, str]) -> None:
        self.project, self.task = project, task
        self.dataset = texts.get("recorded_in", "").strip()
        self.column = texts.get("column", "").strip()
        if self.chosen is None and not self.dataset and self.datasets:
            self.dataset = self.datasets[0].reference
        if self.chosen is not None and self.column not in self.columns and self.columns:
            self.column = self.columns[0] if not self.chosen.soft_labels else ""

    @cached_property
    def datasets(self) -> list[DatasetVersion]:
        """Versions that hold answers, the newest first."""
        found = (
            DatasetVersion.objects.ready()
            .filter(dataset__project=self.project, dataset__task=self.task)
            .select_related("dataset")
            .defer("statistics", "issues")
            .order_by("-pk")[:OFFERED]
        )
        return [
            one
            for one in found
            if one.problem in recorded_teachers.PROBLEMS
            and (one.soft_labels or recorded_teachers.label_columns(one))
        ]

    @property
    def chosen(self) -> DatasetVersion | None:
        return next((one for one in self.datasets if one.reference == self.dataset), None)

    @property
    def columns(self) -> list[str]:
        """That may hold the label that was said."""
        return recorded_teachers.label_columns(self.chosen) if self.chosen else []

    @property
    def soft(self) -> str:
        """`p_cancel, p_pay and 5 more`: columns of probabilities; empty where there are none."""
        names = list(self.chosen.soft_labels.values()) if self.chosen else []
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more

    def source(self) -> dict[str, Any]:
        """As REST takes it."""
        said: dict[str, Any] = {"kind": "column", "dataset": self.dataset}
        return said | ({"column": self.column} if self.column else {})


class EnsembleDraft:
    """Which models, and how much each counts."""

    def __init__(
        self, project: Project, task: str, texts: Mapping[str, str], members: Sequence[str]
    ) -> None:
        self.project, self.task, self.members = project, task, list(members)
        self.shares = fields.under("share", texts)

    @cached_property
    def choices(self) -> list[ModelChoice]:
        found = (
            ModelVersion.objects.ready()
            .filter(model__project=self.project, model__task=self.task)
            .select_related("model")
            .order_by("-model__role", "model__name", "-number")[:OFFERED]
        )
        return [
            run_choices.of(one, found) for one in found if one.can_teach and not one.is_ensemble
        ]

    @property
    def chosen(self) -> list[ModelChoice]:
        return [one for one in self.choices if one.reference in self.members]

    def source(self) -> dict[str, Any]:
        """As REST takes it."""
        weights: list[Any] = []
        for one in self.members:
            text = self.shares.get(one, "1").replace(",", ".")
            try:
                weights.append(float(text))
            except ValueError:
                weights.append(text)  # the service says so
        return {"kind": "ensemble", "members": self.members, "weights": weights}
