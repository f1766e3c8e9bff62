"""The form of an alias's rules: texts as they were typed, made of the rules' own fields."""

from collections.abc import Mapping
from typing import Any

from distillhub.lib.errors import DomainError
from training import catalog
from training.services import promotion_rules
from training.services.promotion_rules import RulesShape

#: (name, label, what stands before an empty field)
NUMBERS = (
    ("min_retention", "Retention at least", "0.95"),
    ("min_score", "Score at least", "0.9"),
    ("max_loss", "Worse than the champion by at most", "0.01"),
    ("max_slice_loss", "On any saved slice by at most", "0.05"),
    ("max_latency_ms", "Milliseconds at most (p95)", "5"),
    ("max_size_bytes", "Bytes of weights at most", "1000000"),
)
SWITCHES = (
    ("needs_export", "That form is made and checked"),
    ("not_hurt", "Its teacher did not hurt"),
)


class RulesDraft:
    def __init__(self, rules: Mapping[str, Any], *, task: str) -> None:
        self.task = task
        self.texts = {name: _written(value) for name, value in rules.items()}
        self.faults: dict[str, list[str]] = {}

    @classmethod
    def typed(cls, texts: Mapping[str, str], *, task: str) -> "RulesDraft":
        draft = cls({}, task=task)
        draft.texts = {name: str(value).strip() for name, value in texts.items()}
        return draft

    def asked(self) -> dict[str, Any]:
        """What is asked of `promotion.set_rules`; what is no number stays as it was typed."""
        asked: dict[str, Any] = {
            name: _number(text) for name, _, _ in NUMBERS if (text := self.texts.get(name))
        }
        for name, _ in SWITCHES:
            asked[name] = bool(self.texts.get(name))
        asked["form"] = self.texts.get("form", "")
        asked["batch"] = _number(self.texts.get("batch") or "1")
        return asked

    def refuse(self, error: DomainError) -> None:
        self.faults = {name: list(sentences) for name, sentences in error.fields.items()}
        self.faults = self.faults or {"rules": [error.detail]}

    @property
    def numbers(self) -> list[dict[str, Any]]:
        fields = RulesShape().fields
        return [
            {
                "name": name,
                "label": label,
                "example": example,
                "value": self.texts.get(name, ""),
                "help": fields[name].help_text,
                "errors": self.faults.get(name, []),
            }
            for name, label, example in NUMBERS
        ]

    @property
    def switches(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "label": label,
                "checked": self.texts.get(name) not in (None, "", "false"),
                "errors": self.faults.get(name, []),
            }
            for name, label in SWITCHES
        ]

    @property
    def forms(self) -> list[tuple[str, str, bool]]:
        """(key, label, whether it is chosen) of what may be shipped."""
        chosen = self.texts.get("form", "")
        fitting = [one for one in catalog.methods()["exporters"] if self.task in one["tasks"]]
        found = [("", "the network itself, in PyTorch"), *((e["key"], e["label"]) for e in fitting)]
        return [(key, label, key == chosen) for key, label in found]

    @property
    def batches(self) -> list[tuple[int, bool]]:
        chosen = self.texts.get("batch") or "1"
        return [(size, str(size) == chosen) for size in promotion_rules.BATCHES]

    @property
    def loose_faults(self) -> list[str]:
        shown = {name for name, *_ in (*NUMBERS, *SWITCHES)} | {"form", "batch"}
        return [" ".join(found) for name, found in self.faults.items() if name not in shown]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str) -> Any:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return text
    return int(number) if number == number and number.is_integer() else number
