"""What is asked of a monitor, understood: every key read, every fault at its field.

    columns = monitor_settings.read(project, asked)                  of a new one: all columns
    columns = monitor_settings.read(project, asked, monitor=monitor)  of a change: what was named

The columns are those of `Monitor`. How detectors, rules and messages are written, monitor_rules.py
knows; what they are unless somebody says otherwise, monitor_defaults.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from distillhub.lib.errors import DomainError, Invalid
from projects.models import Project
from projects.models.dataset import reference_name
from projects.services import registry
from training.models import Monitor
from training.services import monitor_defaults, monitor_rules, monitor_subjects
from training.services.monitor_values import Fault, number, whole

JSON = dict[str, Any]
Faults = dict[str, list[str]]

LONGEST_NAME = 100
LONGEST_NOTES = 10_000
RESERVED = frozenset({"new"})  # an address of the pages
NONE = ("", "none", None)

REQUIRED = ("name", "model", "reference", "window")
KEYS = (
    *REQUIRED, "notes", "minimum_rows", "schedule", "detectors", "correction", "alerts", "slices",
    "teacher", "teacher_sample_rate", "teacher_daily", "privacy", "retention_days", "kept_share",
    "retraining",
)  # fmt: skip


def read(project: Project, asked: Any, *, monitor: Monitor | None = None) -> JSON:
    """Raises Invalid with every fault."""
    if not isinstance(asked, Mapping):
        raise Invalid("A monitor is a JSON object.")
    reading = _Reading(project, asked, monitor)
    for name in asked:
        if name not in KEYS:
            known = ", ".join(KEYS)
            reading.faults[str(name)] = [f"There is no such key in a monitor; it knows {known}."]
    for name in REQUIRED if monitor is None else ():
        if asked.get(name) in (None, ""):
            reading.faults[name] = [monitor_subjects.NEEDED[name]]
    for name in KEYS:
        if name in asked and name not in reading.faults:
            reading.take(name)
    if not reading.faults:
        reading.fill()
    if reading.faults:
        at, said = next(iter(reading.faults.items()))
        raise Invalid(f"{at}: {said[0]}", fields=reading.faults)
    return reading.columns


class _Reading:
    def __init__(self, project: Project, asked: Mapping[str, Any], monitor: Monitor | None) -> None:
        self.project, self.asked, self.monitor = project, asked, monitor
        self.faults: Faults = {}
        self.columns: JSON = {}

    def now(self, column: str) -> Any:
        """As it will be."""
        if column in self.columns:
            return self.columns[column]
        return getattr(self.monitor, column) if self.monitor is not None else None

    def take(self, name: str) -> None:
        try:
            READERS[name](self, self.asked[name])
        except Fault as fault:
            self.faults.setdefault(fault.at, []).append(fault.sentence)
        except Invalid as error:  # from monitor_rules, whose fields say where
            for at, said in (error.fields or {name: [error.detail]}).items():
                self.faults.setdefault(at, []).extend(said)

    def fill(self) -> None:
        """What was not said, of a new monitor; and what must fit together, of any."""
        if self.monitor is None:
            has_labels = bool(self.columns["labels"])
            usual = monitor_defaults.detectors(
                has_labels=has_labels,
                several=self.columns["several_labels"],
                vectors=self.columns["task"] == monitor_subjects.VECTORS,
                by_word=self.columns["task"] == monitor_subjects.BY_WORD,
                writes=self.columns["task"] == monitor_subjects.WRITTEN,
            )
            self.columns["detectors"] = usual | self.columns.get("detectors", {})
            if "slices" not in self.columns and self.columns["dataset_version"] is not None:
                saved = self.columns["dataset_version"].dataset.slices
                named = saved.values_list("name", "conditions")[: monitor_rules.MOST_SLICES]
                self.columns["slices"] = monitor_rules.slices_of(named)
            if "teacher" not in self.columns:
                version = self.columns["version"]
                found = monitor_defaults.teacher_of(version) if version is not None else None
                self.columns["teacher"] = found
            if "teacher_share" not in self.columns:
                share = monitor_defaults.teacher_share(window_rows=self.columns["window_rows"])
                self.columns["teacher_share"] = share if self.columns["teacher"] else 0.0
            if "minimum_rows" not in self.columns:
                whole = self.columns["window_rows"] or monitor_defaults.MINIMUM_ROWS
                self.columns["minimum_rows"] = min(monitor_defaults.MINIMUM_ROWS, whole)
        for check in (self._rows_fit, self._teacher_fits, self._reference_fits):
            try:
                check()
            except Fault as fault:
                self.faults.setdefault(fault.at, []).append(fault.sentence)

    # -- what must fit together --

    def _rows_fit(self) -> None:
        whole = self.now("window_rows")
        if whole is not None and self.now("minimum_rows") > whole:
            sentence = f"A window has {whole} rows, so it can never have this many."
            raise Fault("minimum_rows", sentence)

    def _teacher_fits(self) -> None:
        teacher, version = self.now("teacher"), self.now("version")
        touched = {"teacher", "version", "privacy", "teacher_share"} & set(self.columns)
        if teacher is None or not touched:
            if teacher is None and self.now("teacher_share") and "teacher_share" in self.columns:
                raise Fault("teacher_sample_rate", "There is no teacher to ask. Name one.")
            return
        task, labels = self.now("task"), self.now("labels")
        if teacher.model.task != task:
            raise Fault("teacher", f"{teacher.reference} is for {teacher.model.task}, not {task}.")
        if version is not None and not monitor_defaults.answers_alike(teacher, version):
            sentence = f"{teacher.reference} answers with other labels than {version.reference}."
            raise Fault("teacher", sentence)
        asks = teacher.is_asked  # in the labels that it is given
        several = self.now("several_labels")
        if asks and task == monitor_subjects.VECTORS:
            raise Fault("teacher", f"{teacher.reference} gives labels, and no vectors.")
        if asks and task == monitor_subjects.BY_WORD:
            raise Fault("teacher", f"{teacher.reference} gives one label to a row, none to words.")
        if asks and several:
            raise Fault("teacher", f"{teacher.reference} gives one label to a row, not several.")
        if (
            version is None
            and not asks
            and (
                set(teacher.labels) != set(labels)
                or (teacher.problem == monitor_subjects.SEVERAL) != several
            )
        ):
            raise Fault("teacher", f"{teacher.reference} answers with other labels.")
        hides = self.now("privacy") in (Monitor.Privacy.HASHED, Monitor.Privacy.DESCRIBED)
        if teacher.is_asked and hides:
            sentence = (
                f"{teacher.reference} is a service elsewhere, and what comes here is not to be "
                "kept: keep all of it or what is redacted, or take a teacher that runs here."
            )
            raise Fault("teacher", sentence)

    def _reference_fits(self) -> None:
        version, task = self.now("dataset_version"), self.now("task")
        if version is None or not {"dataset_version", "task"} & set(self.columns):
            return
        if version.dataset.task != task:
            sentence = f"{version.reference} is for {version.dataset.task}, not {task}."
            raise Fault("reference", sentence)
        if version.problem == monitor_subjects.SEVERAL and not self.now("several_labels"):
            sentence = f"Rows of {version.reference} have several labels; the model gives one."
            raise Fault("reference", sentence)
        strange = set(version.labels) - set(self.now("labels"))
        if self.now("labels") and strange:
            some = ", ".join(sorted(map(str, strange))[:3])
            raise Fault(
                "reference", f"{version.reference} has labels the model never says: {some}."
            )


# -- each key -------------------------------------------------------------------------------------


def _name(reading: _Reading, value: Any) -> None:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= LONGEST_NAME:
        raise Fault("name", f"A name has 1 to {LONGEST_NAME} characters.")
    name = value.strip()
    try:
        reference_name(name)
    except ValidationError as error:
        raise Fault("name", error.messages[0]) from None
    if name.lower() in RESERVED:
        raise Fault("name", f"{name} is no name for a monitor: a page has that address.")
    reading.columns["name"] = name


def _notes(reading: _Reading, value: Any) -> None:
    if not isinstance(value, str) or len(value) > LONGEST_NOTES:
        raise Fault("notes", f"Notes have at most {LONGEST_NOTES} characters.")
    reading.columns["notes"] = value


def _model(reading: _Reading, value: Any) -> None:
    found = monitor_subjects.model(reading.project, value)
    before = reading.monitor
    if before is not None and (before.external != "") != (found["external"] != ""):
        raise Fault("model", "A monitor goes on with a model of the same place; make another one.")
    same = before is None or (
        before.task == found["task"]
        and set(before.labels) == set(found["labels"])
        and before.several_labels == found["several_labels"]
    )
    if not same:
        sentence = "It answers with other labels, or does another task: make another monitor."
        raise Fault("model", sentence)
    if before is not None and not before.external:
        found["labels"] = list(before.labels)  # in the order that callers and stored rows have
    reading.columns |= found


def _reference(reading: _Reading, value: Any) -> None:
    reading.columns |= monitor_subjects.reference(reading.project, value)


def _window(reading: _Reading, value: Any) -> None:
    if not isinstance(value, Mapping) or set(value) not in ({"rows"}, {"hours"}):
        raise Fault("window", monitor_subjects.NEEDED["window"])
    if "rows" in value:
        rows = whole("window.rows", value["rows"], 20, 1_000_000)
        found: JSON = {"window_rows": rows, "window_hours": None}
    else:
        hours = number("window.hours", value["hours"], 0.05, monitor_subjects.MOST_HOURS)
        found = {"window_rows": None, "window_hours": hours}
    before = reading.monitor
    changed = before is not None and any(getattr(before, key) != found[key] for key in found)
    if before is not None and changed and before.windows.exists():
        sentence = "Windows of another length cannot follow those that are there. Make another one."
        raise Fault("window", sentence)
    reading.columns |= found


def _minimum(reading: _Reading, value: Any) -> None:
    reading.columns["minimum_rows"] = whole("minimum_rows", value, 1, 1_000_000)


def _schedule(reading: _Reading, value: Any) -> None:
    if not isinstance(value, Mapping) or set(value) != {"grace_minutes"}:
        sentence = (
            'Windows are judged as they end; {"grace_minutes": 5} is how long late rows have.'
        )
        raise Fault("schedule", sentence)
    minutes = whole("schedule.grace_minutes", value["grace_minutes"], 0, 60 * 24 * 7)
    reading.columns["grace_minutes"] = minutes


def _teacher(reading: _Reading, value: Any) -> None:
    if value in NONE:
        reading.columns["teacher"] = None
        reading.columns["teacher_share"] = 0.0
        return
    if not isinstance(value, str):
        raise Fault("teacher", "Name a model, as in minilm@2, or null for none.")
    try:
        found = registry.resolve(project=reading.project, reference=value.strip())
    except DomainError as error:
        raise Fault("teacher", error.detail) from None
    if not found.is_asked and not (found.has_network and found.is_trained):
        sentence = f"{found.reference} cannot be asked about a row that it never saw."
        raise Fault("teacher", sentence)
    reading.columns["teacher"] = found
    if reading.monitor is not None and not reading.monitor.teacher_share:
        rows = reading.now("window_rows")
        reading.columns["teacher_share"] = monitor_defaults.teacher_share(window_rows=rows)


def _share(reading: _Reading, value: Any) -> None:
    reading.columns["teacher_share"] = number("teacher_sample_rate", value, 0, 1)


def _daily(reading: _Reading, value: Any) -> None:
    reading.columns["teacher_daily"] = whole("teacher_daily", value, 0, 1_000_000)


def _privacy(reading: _Reading, value: Any) -> None:
    if value not in Monitor.Privacy.values:
        raise Fault("privacy", f"It must be one of {', '.join(Monitor.Privacy.values)}.")
    reading.columns["privacy"] = value


def _retention(reading: _Reading, value: Any) -> None:
    reading.columns["retention_days"] = whole("retention_days", value, 1, 3650)


def _kept(reading: _Reading, value: Any) -> None:
    reading.columns["kept_share"] = number("kept_share", value, 0, 1)


def _detectors(reading: _Reading, value: Any) -> None:
    found = monitor_rules.detectors(value)
    before = reading.monitor
    reading.columns["detectors"] = (before.detectors if before is not None else {}) | found


def _correction(reading: _Reading, value: Any) -> None:
    reading.columns["correction"] = monitor_rules.correction(value)


def _alerts(reading: _Reading, value: Any) -> None:
    rules, told = monitor_rules.alerts(value)
    reading.columns["rules"], reading.columns["alerting"] = rules, told


def _slices(reading: _Reading, value: Any) -> None:
    reading.columns["slices"] = monitor_rules.slices(value)


def _retraining(reading: _Reading, value: Any) -> None:
    reading.columns["retraining"] = monitor_rules.retraining(value)


READERS: dict[str, Callable[[_Reading, Any], None]] = {
    "name": _name, "notes": _notes, "model": _model, "reference": _reference, "window": _window,
    "minimum_rows": _minimum, "schedule": _schedule, "detectors": _detectors,
    "correction": _correction, "alerts": _alerts, "slices": _slices, "teacher": _teacher,
    "teacher_sample_rate": _share, "teacher_daily": _daily, "privacy": _privacy,
    "retention_days": _retention, "kept_share": _kept, "retraining": _retraining,
}  # fmt: skip
