"""The form of a monitor's alerts: rules by kind of signal, and who is told when. Texts as they were
typed; an empty field leaves what is usual."""

from collections.abc import Iterable, Mapping
from typing import Any

from distillhub.lib.errors import DomainError
from training.models import AlertChannel, Monitor
from training.worker import alert_rules

JSON = dict[str, Any]

#: (name, what stands over the column, its help)
NUMBERS = (
    ("level", "Level", "A window counts where its p, corrected for all signals, is at most this."),
    ("worth", "Notice", "The least effect that is worth acting on."),
    ("serious", "Serious", "From this effect on."),
    ("critical", "Critical", "From this effect on."),
    ("opens", "Opens after", "Windows beyond that open the alert,"),
    ("among", "of the last", "of so many that said anything."),
    ("closes", "Closes after", "Clean windows that close it again."),
)
WHOLE = ("opens", "among", "closes")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class AlertsDraft:
    def __init__(self, monitor: Monitor, signals: Iterable[str]) -> None:
        self.monitor = monitor
        self.kept: JSON = monitor.rules if isinstance(monitor.rules, dict) else {}
        kinds = {alert_rules.kind_of(one) for one in signals}
        own = [key for key in self.kept if key not in alert_rules.KINDS and key != alert_rules.ALL]
        shown = [key for key in alert_rules.KINDS if not kinds or key in kinds or key in self.kept]
        self.keys = [alert_rules.ALL, *shown, *own]
        self.texts = _texts(monitor, self.keys)
        self.faults: dict[str, list[str]] = {}

    def typed(self, given: Mapping[str, Any], lists: Mapping[str, list[str]]) -> None:
        """What came with the form: texts, and the lists of channels and days."""
        self.texts = {name: str(given.get(name, "")).strip() for name in self.texts}
        self.texts |= {name: ",".join(lists.get(name, [])) for name in ("channels", "days")}

    def asked(self) -> JSON:
        """The value of `alerts`, as REST has it; what is no number stays as it was typed."""
        rules: JSON = {key: said for key, said in self.kept.items() if key not in self.keys}
        for key in self.keys:
            said = {
                name: _number(text)
                for name, *_ in NUMBERS
                if (text := self.texts.get(f"{key}:{name}", ""))
            }
            if said:
                rules[key] = said
        told: JSON = {"rules": rules}
        if self.texts["to"] == "some":
            told["channels"] = [one for one in self.texts["channels"].split(",") if one]
        if self.texts["least"]:
            told["least"] = self.texts["least"]
        if self.texts["silence_hours"]:
            told["silence_hours"] = _number(self.texts["silence_hours"])
        told["critical_breaks_through"] = self.texts["breaks"] == "true"
        if self.texts["from"] or self.texts["until"]:
            told["quiet_hours"] = {
                "from": self.texts["from"],
                "until": self.texts["until"],
                "zone": self.texts["zone"] or "UTC",
                "days": [int(one) for one in self.texts["days"].split(",") if one.isdecimal()],
            }
        return told

    def refuse(self, error: DomainError) -> None:
        self.faults = {name: list(said) for name, said in error.fields.items()}
        self.faults = self.faults or {"": [error.detail]}

    @property
    def errors(self) -> list[str]:
        return [f"{at.removeprefix('alerts.')}: {' '.join(s)}" for at, s in self.faults.items()]

    @property
    def heads(self) -> list[tuple[str, str]]:
        return [(label, help_text) for _, label, help_text in NUMBERS]

    @property
    def lines(self) -> list[JSON]:
        """A line for each kind, with its fields."""
        return [
            {
                "key": key,
                "label": _label(key),
                "fields": [self._field(key, name, label) for name, label, _ in NUMBERS],
            }
            for key in self.keys
        ]

    @property
    def days(self) -> list[tuple[int, str, bool]]:
        chosen = self.texts["days"].split(",")
        return [(place, word, str(place) in chosen) for place, word in enumerate(DAYS)]

    def channels(self, found: Iterable[AlertChannel]) -> list[tuple[str, str, bool]]:
        chosen = self.texts["channels"].split(",")
        return [(one.name, one.get_kind_display(), one.name in chosen) for one in found]

    def _field(self, key: str, name: str, label: str) -> JSON:
        usual = alert_rules.as_dict(alert_rules.usual(key))[name]
        if key == alert_rules.ALL and name in ("worth", "serious", "critical"):
            usual = "its own"  # each detector has a unit of its own
        every = self.kept.get(alert_rules.ALL, {}).get(name)
        at = f"alerts.rules.{key}.{name}"
        return {
            "name": f"{key}:{name}",
            "value": self.texts.get(f"{key}:{name}", ""),
            "usual": _written(every if every is not None and key != alert_rules.ALL else usual),
            "label": f"{label}, {_label(key)}",
            "wrong": at in self.faults,
            "whole": name in WHOLE,
        }


def _texts(monitor: Monitor, keys: Iterable[str]) -> dict[str, str]:
    rules: JSON = monitor.rules if isinstance(monitor.rules, dict) else {}
    told: JSON = monitor.alerting if isinstance(monitor.alerting, dict) else {}
    quiet: JSON = told.get("quiet_hours") or {}
    texts = {
        f"{key}:{name}": _written(rules.get(key, {}).get(name))
        for key in keys
        for name, *_ in NUMBERS
    }
    return texts | {
        "to": "some" if told.get("channels") is not None else "all",
        "channels": ",".join(told.get("channels") or []),
        "least": str(told.get("least") or ""),
        "silence_hours": _written(told.get("silence_hours")),
        "breaks": "true" if told.get("critical_breaks_through", True) else "",
        "from": str(quiet.get("from") or ""),
        "until": str(quiet.get("until") or ""),
        "zone": str(quiet.get("zone") or "UTC"),
        "days": ",".join(str(one) for one in quiet.get("days") or []),
    }


def _label(key: str) -> str:
    if key == alert_rules.ALL:
        return "All, unless said below"
    return alert_rules.KINDS.get(key, key)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str) -> Any:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return text
    return int(number) if number == number and number.is_integer() else number
