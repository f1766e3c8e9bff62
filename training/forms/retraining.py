"""The form of a policy of retraining: texts as they were typed, made of the policy's own fields."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from distillhub.lib.errors import DomainError
from training.services.retraining_policy import PolicyShape

JSON = dict[str, Any]
#: (the group's title, [(name, label)])
GROUPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "When",
        (
            ("on_incident", "An incident proposes one"),
            ("every_days", "Proposed every so many days"),
            ("starts_itself", "Begins without a person"),
        ),
    ),
    (
        "Rows",
        (
            ("rows", "Live rows at most"),
            ("least_rows", "Live rows at least"),
            ("days", "Days back, without an incident"),
            ("test_share", "Share kept as the live test"),
            ("validation_share", "Share for validation"),
            ("by_chance", "Share drawn by chance"),
            ("keep_old", "Share of old rows learnt again"),
        ),
    ),
    (
        "Labels and training",
        (
            ("teacher", "Teacher"),
            ("budget", "Budget of a teacher behind an API"),
            ("review_rows", "Rows that people check first"),
            ("control", "With a control on labels alone"),
        ),
    ),
    (
        "Gate",
        (
            ("max_old_loss", "Worse on old rows by at most"),
            ("min_new_gain", "Better on live rows by more than"),
            ("alias", "Alias that moves"),
            ("asks", "A person decides"),
        ),
    ),
)


class PolicyDraft:
    def __init__(self, policy: Mapping[str, Any]) -> None:
        self.texts = {name: _written(value) for name, value in policy.items()}
        self.faults: dict[str, list[str]] = {}

    @classmethod
    def typed(cls, texts: Mapping[str, str]) -> "PolicyDraft":
        draft = cls({})
        draft.texts = {name: str(value).strip() for name, value in texts.items()}
        return draft

    def asked(self) -> JSON:
        """As REST takes it; what is empty becomes the default."""
        asked: JSON = {}
        for name, field in PolicyShape().fields.items():
            text = self.texts.get(name, "")
            if isinstance(field, serializers.BooleanField):
                asked[name] = bool(text)
            elif text:
                asked[name] = text
        return asked

    def refuse(self, error: DomainError) -> None:
        self.faults = {name: list(sentences) for name, sentences in error.fields.items()}
        self.faults = self.faults or {"policy": [error.detail]}

    @property
    def groups(self) -> list[JSON]:
        fields = PolicyShape().fields
        return [
            {
                "title": title,
                "fields": [
                    {
                        "name": name,
                        "label": label,
                        "help": fields[name].help_text,
                        "value": self.texts.get(name, ""),
                        "is_switch": isinstance(fields[name], serializers.BooleanField),
                        "is_text": isinstance(fields[name], serializers.CharField),
                        "errors": self.faults.get(name, []),
                    }
                    for name, label in named
                ],
            }
            for title, named in GROUPS
        ]

    @property
    def loose_faults(self) -> list[str]:
        known = {name for _, named in GROUPS for name, _ in named}
        return [one for at, said in self.faults.items() if at not in known for one in said]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)
