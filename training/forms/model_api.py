"""The part of a new model's form that describes a teacher behind an API."""

from collections.abc import Mapping, Sequence
from typing import Any

from projects.models import RegisteredModel
from training.answering.endpoint import APIS, BEDROCK, OPENAI_CHAT
from training.forms import fields
from training.forms.fields import OptionField
from training.services import api_teachers

#: Name: (label, help, kind, default). The rest of what is taken is said through REST.
FIRST = {
    "base_url": ("Address", "Where requests go, such as https://api.openai.com/v1.", "str", ""),
    "region": ("Region", "Of Bedrock, such as eu-central-1.", "str", ""),
    "model": ("Model", "As the service names it.", "str", ""),
}
COSTS = {
    "input_price": ("Price of a million tokens read", "In your currency.", "float", "0"),
    "output_price": ("Price of a million tokens written", "In your currency.", "float", "0"),
}
LIMITS = {
    "concurrency": ("Requests at once", "How many are under way.", "int", "4"),
    "requests_per_minute": ("Requests a minute", "At most; 0 for no limit.", "int", "0"),
    "timeout": ("Time-out", "Seconds for a whole answer.", "float", "60"),
    "max_tokens": ("Longest answer", "In tokens.", "int", "1024"),
    "temperature": ("Temperature", "Of texts; labels are asked for at 0.", "float", ""),
    "key_header": ("Header of the key", "api-key, for some gateways.", "str", "Authorization"),
}
OPTIONAL = frozenset({"temperature"})
#: Whose faults stand beside them.
NAMED = frozenset({*FIRST, *COSTS, *LIMITS, "api", "key"})


class ApiDraft:
    """Texts as they were typed, but for the key, which no page ever gets back."""

    def __init__(
        self,
        texts: Mapping[str, str],
        faults: Mapping[str, Sequence[str]],
        model: RegisteredModel | None,
    ) -> None:
        self.texts = fields.under("api", texts)
        if not self.texts and model is not None:  # the next version begins as the one before
            self.texts = {
                name: fields.written(value)
                for name, value in (newest(model) or {}).items()
                if name in NAMED
            }
        self.faults = faults
        api = self.texts.get("api", OPENAI_CHAT)
        self.api = api if api in APIS else OPENAI_CHAT
        self.kept = list(model.api_keys.values_list("origin", flat=True)) if model else []

    @property
    def apis(self) -> list[tuple[str, str]]:
        return list(APIS.items())

    @property
    def is_bedrock(self) -> bool:
        return self.api == BEDROCK

    @property
    def first(self) -> list[OptionField]:
        left_out = set() if self.is_bedrock else {"region"}
        return self._shown({name: one for name, one in FIRST.items() if name not in left_out})

    @property
    def costs(self) -> list[OptionField]:
        return self._shown(COSTS)

    @property
    def limits(self) -> list[OptionField]:
        return self._shown(LIMITS)

    @property
    def is_limited(self) -> bool:
        """Whether one of the limits was changed, or is wrong, so that they are to be seen."""
        return any(one.is_changed or one.errors for one in self.limits)

    def source(self) -> dict[str, Any]:
        """As REST takes it; the key, too."""
        said: dict[str, Any] = {"kind": "api", "api": self.api}
        for name, (_, _, kind, _) in (FIRST | COSTS | LIMITS).items():
            text = self.texts.get(name, "").strip()
            if text and (name != "region" or self.is_bedrock):
                said[name] = text.replace(",", ".") if kind == "float" else text
        if key := self.texts.get("key", "").strip():
            said["key"] = key
        return said

    def _shown(self, described: Mapping[str, tuple[str, str, str, str]]) -> list[OptionField]:
        return [
            OptionField(
                name=f"api.{name}",
                label=label,
                help=told,
                kind=kind,
                value=self.texts.get(name, default),
                default=default,
                nullable=name in OPTIONAL or (name == "base_url" and self.is_bedrock),
                errors=list(self.faults.get(name, [])),
            )
            for name, (label, told, kind, default) in described.items()
        ]


TASKS = api_teachers.TASKS


def newest(model: RegisteredModel) -> dict[str, Any] | None:
    """The source of its newest version, where that is a service."""
    version = model.versions.first()
    return version.source if version is not None and version.is_asked else None
