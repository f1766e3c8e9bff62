"""The form of a monitor: what was typed, and what it asks for as REST would take it. It judges
nothing; the service says what is wrong, and where."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from distillhub.lib import rest
from distillhub.lib.errors import DomainError
from projects.models import Project
from training.forms import fields
from training.forms.monitor_choices import (
    ELSEWHERE,
    OWN_TRAFFIC,
    PAST_TRAFFIC,
    MonitorChoices,
)
from training.models import Monitor
from training.services import monitor_defaults, monitor_told

JSON = dict[str, Any]

LONGEST = 20_000  # characters of a field
#: Texts of a form that nobody touched.
EMPTY: dict[str, str] = {
    "name": "", "notes": "", "model": "", "external": "", "external_task": "text-classification",
    "external_labels": "", "external_several": "", "reference": "", "traffic_hours": "24",
    "traffic_from": "",
    "traffic_until": "", "window": "rows", "window_rows": "500", "window_hours": "1",
    "minimum_rows": "", "grace_minutes": str(monitor_defaults.GRACE_MINUTES), "teacher": "default",
    "teacher_percent": "", "teacher_daily": str(monitor_defaults.TEACHER_DAILY), "privacy": "raw",
    "retention_days": str(monitor_defaults.RETENTION_DAYS), "kept_percent": "100",
    "correction": "holm", "level": "", "opens": "", "among": "", "closes": "", "least": "",
    "silence_hours": "", "quiet_from": "", "quiet_until": "", "quiet_zone": "UTC", "slices": "",
}  # fmt: skip
OF_ALL = ("level", "opens", "among", "closes")  # rules of all signals


class MonitorDraft:
    """What was typed so far. `monitor` is the one that is changed, if it is no new one."""

    def __init__(
        self, project: Project, texts: Mapping[str, str], monitor: Monitor | None = None
    ) -> None:
        self.project, self.monitor = project, monitor
        self.texts = EMPTY | {key: texts[key] for key in EMPTY if key in texts}
        self.detectors = {
            key[len("detectors.") :]: value
            for key, value in texts.items()
            if key.startswith("detectors.")
        }
        self.faults: dict[str, list[str]] = {}
        self.choices = MonitorChoices(project, self.texts, self.detectors, monitor)

    @classmethod
    def of(cls, monitor: Monitor) -> Self:
        """As it is."""
        return cls(monitor.project, _texts(monitor), monitor)

    @classmethod
    def read(
        cls, project: Project, posted: Mapping[str, str], monitor: Monitor | None = None
    ) -> Self:
        """Of a form, or of what was typed into one."""
        known = {str(key): str(posted[key])[:LONGEST] for key in posted}
        return cls(project, known, monitor)

    def begin(self) -> None:
        """Fill in what follows from the model that is chosen, of a new one."""
        text, offered = self.texts, self.choices
        if not text["model"] and offered.models:
            text["model"] = offered.models[0][1][0][0]
        if offered.version is not None and text["name"] in {"", *self._model_names()}:
            text["name"] = offered.version.model.name  # of another model, it was never typed
        known = [key for key, _ in offered.references]
        if text["reference"] not in (*known, OWN_TRAFFIC, PAST_TRAFFIC):
            text["reference"] = self._usual_reference(known)
        if text["teacher"] not in {key for key, _ in offered.teachers}:
            text["teacher"] = "default"

    def _model_names(self) -> set[str]:
        """That a name was suggested after."""
        return {key.partition("@")[0] for _, models in self.choices.models for key, _ in models}

    def _usual_reference(self, known: list[str]) -> str:
        """The test rows of the run that made the model; else the newest dataset's."""
        run = getattr(self.choices.version, "produced_by", None)
        if run is not None and run.dataset_version is not None:
            own = f"{run.dataset_version.reference}:test"
            if own in known:
                return own
        return known[0] if known and not self.choices.is_external else OWN_TRAFFIC

    def changes(self) -> JSON:
        """What differs from the monitor as it is; all of a new one."""
        asked = self.asked()
        if self.monitor is None:
            return asked
        before = MonitorDraft.of(self.monitor).asked()
        return {
            key: value
            for key, value in asked.items()
            if key == "detectors" or before.get(key) != value
        }

    def __getitem__(self, name: str) -> str:
        return self.texts[name]

    @property
    def is_new(self) -> bool:
        return self.monitor is None

    # -- what is asked --

    def asked(self) -> JSON:
        """As REST would take it."""
        text = self.texts
        told: JSON = {
            "name": text["name"],
            "notes": text["notes"],
            "model": self._model(),
            "reference": self._reference(),
            "window": self._window(),
            "schedule": {"grace_minutes": number(text["grace_minutes"])},
            "teacher_daily": number(text["teacher_daily"]),
            "privacy": text["privacy"],
            "retention_days": number(text["retention_days"]),
            "kept_share": _share(text["kept_percent"]),
            "correction": text["correction"],
        }
        if self.is_new:  # they have a page of their own, with every rule, afterwards
            told["alerts"] = self._alerts()
        if text["minimum_rows"].strip():
            told["minimum_rows"] = number(text["minimum_rows"])
        if text["teacher"] != "default":
            told["teacher"] = None if text["teacher"] in ("", "none") else text["teacher"]
        if text["teacher_percent"].strip() and text["teacher"] != "none":
            told["teacher_sample_rate"] = _share(text["teacher_percent"])
        if chosen := self._detectors():
            told["detectors"] = chosen
        if self.monitor is not None or text["slices"].strip():
            told["slices"] = _loaded(text["slices"], [])
        return told

    def _model(self) -> Any:
        if self.choices.is_external:
            told = {
                "external": self.texts["external"], "task": self.texts["external_task"],
                "labels": self.choices.labels,
            }  # fmt: skip
            return told | ({"several_labels": True} if self.choices.is_several else {})
        return self.texts["model"]

    def _reference(self) -> Any:
        chosen = self.texts["reference"]
        if chosen == OWN_TRAFFIC:
            return {"traffic": {"hours": number(self.texts["traffic_hours"])}}
        if chosen == PAST_TRAFFIC:
            return {"traffic": {side: self._traffic(side) for side in ("from", "until")}}
        return chosen

    def _traffic(self, side: str) -> str:
        """The form shows whole seconds: what nobody edited stays to the microsecond."""
        typed = self.texts[f"traffic_{side}"]
        kept = getattr(self.monitor, f"traffic_{side}", None)
        if kept is not None and typed.strip() == _moment(kept):
            return str(kept.isoformat())
        return typed

    def _window(self) -> JSON:
        if self.texts["window"] == "hours":
            return {"hours": number(self.texts["window_hours"])}
        return {"rows": number(self.texts["window_rows"])}

    def _detectors(self) -> JSON:
        kept = self.choices.kept_detectors()
        found: JSON = {}
        for key, kind in self.detectors.items():
            if kind == "several":
                continue
            before = kept.get(key, [])
            if kind and [one["kind"] for one in before] == [kind]:
                continue  # with the options that it has
            found[key] = [kind] if kind else []
            if found[key] == before:
                del found[key]
        return found

    def _alerts(self) -> JSON:
        """Of a new monitor."""
        text = self.texts
        every = {name: number(text[name]) for name in OF_ALL if text[name].strip()}
        told: JSON = {"rules": {"*": every} if every else {}}
        if text["least"]:
            told["least"] = text["least"]
        if text["silence_hours"].strip():
            told["silence_hours"] = number(text["silence_hours"])
        if text["quiet_from"].strip() or text["quiet_until"].strip():
            told["quiet_hours"] = {
                "from": text["quiet_from"], "until": text["quiet_until"],
                "zone": text["quiet_zone"] or "UTC", "days": [],
            }  # fmt: skip
        return told

    # -- what was wrong --

    def refuse(self, error: DomainError) -> None:
        self.faults = dict(error.fields) or {"": [error.detail]}

    @property
    def errors(self) -> dict[str, str]:
        """By the field of the form beside which they stand."""
        found: dict[str, list[str]] = {}
        for at, said in self.faults.items():
            found.setdefault(_place(at), []).extend(said)
        return {at: " ".join(said) for at, said in found.items()}

    @property
    def has_further_news(self) -> bool:
        return bool(set(self.errors) & {"detectors", "alerts", "slices", "rows", "correction"})


def number(text: str) -> Any:
    """What was typed, as a number where it is one: the service names what is wrong."""
    for kind in (int, float):
        try:
            return kind(text.strip())
        except ValueError:
            continue
    return text.strip() or None


def _share(text: str) -> Any:
    percent = number(text.replace("%", ""))
    return round(percent / 100, 6) if isinstance(percent, int | float) else percent


def _loaded(text: str, nothing: Any) -> Any:
    """JSON, or the text itself, which the service refuses by its field."""
    if not text.strip():
        return nothing
    try:
        return rest.loaded(text.encode())
    except ValueError:
        return text


#: Where a fault stands, by how its field begins.
PLACES = (
    ("model", "model"), ("reference", "reference"), ("window", "window"),
    ("minimum_rows", "rows"), ("schedule", "rows"), ("detectors", "detectors"),
    ("correction", "correction"), ("alerts", "alerts"), ("slices", "slices"),
    ("teacher_sample_rate", "teacher"), ("teacher_daily", "teacher"), ("teacher", "teacher"),
    ("privacy", "privacy"), ("retention_days", "kept"), ("kept_share", "kept"), ("name", "name"),
    ("notes", "notes"),
)  # fmt: skip


def _place(at: str) -> str:
    stem = at.partition(".")[0]
    return next((place for begins, place in PLACES if stem == begins), "")


def _texts(monitor: Monitor) -> dict[str, str]:
    """As a person would have typed it."""
    texts = {
        "name": monitor.name,
        "notes": monitor.notes,
        "model": ELSEWHERE if monitor.external else str(monitor_told.model(monitor) or ""),
        "external": monitor.external,
        "external_task": monitor.task,
        "external_labels": "\n".join(map(str, monitor.labels)),
        "external_several": "on" if monitor.several_labels else "",
        "window": "rows" if monitor.window_rows is not None else "hours",
        "window_rows": fields.written(monitor.window_rows or 500),
        "window_hours": fields.written(monitor.window_hours or 1),
        "minimum_rows": fields.written(monitor.minimum_rows),
        "grace_minutes": fields.written(monitor.grace_minutes),
        "teacher": monitor.teacher.reference if monitor.teacher is not None else "none",
        "teacher_percent": fields.written(round(monitor.teacher_share * 100, 4)),
        "teacher_daily": fields.written(monitor.teacher_daily),
        "privacy": monitor.privacy,
        "retention_days": fields.written(monitor.retention_days),
        "kept_percent": fields.written(round(monitor.kept_share * 100, 4)),
        "correction": monitor.correction,
        "slices": json.dumps(monitor.slices, ensure_ascii=False) if monitor.slices else "",
    }
    if monitor.traffic_from is not None and monitor.traffic_until is not None:
        texts["reference"] = PAST_TRAFFIC
        texts["traffic_from"] = _moment(monitor.traffic_from)
        texts["traffic_until"] = _moment(monitor.traffic_until)
    else:
        texts["reference"] = monitor_told.reference(monitor) or ""
    return texts


def _moment(at: datetime) -> str:
    """As the field's example is written."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
