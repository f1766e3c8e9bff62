"""What the form of a monitor offers: models, references, teachers, detectors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from projects.models import DatasetVersion, ModelVersion, Project
from training import catalog
from training.engine import alerting
from training.models import Monitor
from training.services import monitor_defaults, monitor_rules, monitor_subjects

JSON = dict[str, Any]
Choice = tuple[str, str]

ELSEWHERE = "elsewhere"
OWN_TRAFFIC, PAST_TRAFFIC = "traffic next", "traffic past"
MOST_CHOICES = 200


class DetectorRow(NamedTuple):
    """What watches one kind of signal."""

    key: str
    label: str
    now: str  # a key; "" unwatched; "several" as it is, which only REST says
    choices: list[Choice]
    several: str


class MonitorChoices:
    """Of what was typed so far: what is chosen first narrows what follows."""

    def __init__(
        self,
        project: Project,
        texts: Mapping[str, str],
        detectors: Mapping[str, str],
        monitor: Monitor | None,
    ) -> None:
        self.project, self.texts, self.monitor = project, texts, monitor
        self.detectors = detectors
        self._versions: list[ModelVersion] | None = None

    @property
    def is_external(self) -> bool:
        return self.texts["model"] == ELSEWHERE

    @property
    def labels(self) -> list[str]:
        """Of a model elsewhere, as they were typed."""
        lines = self.texts["external_labels"].replace(",", "\n").splitlines()
        return [one.strip() for one in lines if one.strip()]

    @property
    def versions(self) -> list[ModelVersion]:
        """That can be watched, the newest of each name first."""
        if self._versions is None:
            found = (
                ModelVersion.objects.ready()
                .filter(model__project=self.project, model__task__in=monitor_subjects.tasks())
                .select_related("model")
                .prefetch_related("aliases")
                .order_by("model__name", "-number")[:MOST_CHOICES]
            )
            self._versions = [
                one for one in found if not monitor_subjects.unwatchable(one) and self._goes_on(one)
            ]
        return self._versions

    def _goes_on(self, version: ModelVersion) -> bool:
        """Whether a monitor that is there can watch it next."""
        monitor = self.monitor
        return monitor is None or (
            version.model.task == monitor.task
            and set(version.labels) == set(monitor.labels)
            and (version.problem == monitor_subjects.SEVERAL) == monitor.several_labels
        )

    @property
    def models(self) -> list[tuple[str, list[Choice]]]:
        """In groups: aliases that are followed, versions that stay, another's."""
        follow = [
            (f"{one.model.name}@{alias.name}", f"{one.model.name}@{alias.name}, now {one.number}")
            for one in self.versions
            for alias in one.aliases.all()
        ]
        stay = [(one.reference, one.reference) for one in self.versions]
        groups = [("Follows an alias", follow), ("Stays with a version", stay)]
        groups.append(("Served elsewhere", [(ELSEWHERE, "A model that is served elsewhere")]))
        if self.monitor is not None:
            external = bool(self.monitor.external)
            groups = [one for one in groups if (one[0] == "Served elsewhere") == external]
            now = self.texts["model"]
            if now not in {key for _, choices in groups for key, _ in choices}:
                words = f"{now}, which is gone" if now else "Its model is gone"
                groups.insert(0, ("As it is", [(now, words)]))
        return [one for one in groups if one[1]]

    @property
    def version(self) -> ModelVersion | None:
        """That is chosen, as far as it is known."""
        name, _, which = self.texts["model"].partition("@")
        for one in self.versions:
            if one.model.name != name:
                continue
            named = which in {alias.name for alias in one.aliases.all()}
            if which in ("", str(one.number)) or named:
                return one
        return None

    @property
    def task(self) -> str:
        if self.monitor is not None:
            return self.monitor.task
        if self.is_external:
            return self.texts["external_task"]
        return self.version.model.task if self.version is not None else ""

    @property
    def tasks(self) -> list[str]:
        return monitor_subjects.tasks()

    @property
    def references(self) -> list[Choice]:
        """Splits of datasets of the task, those of the newest versions first."""
        found = (
            DatasetVersion.objects.ready()
            .filter(dataset__project=self.project, dataset__task=self.task)
            .select_related("dataset")
            .order_by("-pk")[:50]
        )
        listed = []
        for one in found:
            splits = sorted(one.splits.items(), key=lambda part: part[0] != "test")
            for split, told in splits:
                if told["rows"] >= monitor_subjects.LEAST_REFERENCE:
                    words = f"{one.reference}, {split}: {told['rows']} rows"
                    listed.append((f"{one.reference}:{split}", words))
        now = self.texts["reference"]
        is_traffic = now in (OWN_TRAFFIC, PAST_TRAFFIC)
        if self.monitor is not None and not is_traffic and now not in dict(listed):
            listed.insert(0, (now, now or "As it was taken: its rows are gone"))
        return listed

    @property
    def usual_teacher(self) -> ModelVersion | None:
        version = self.version
        return monitor_defaults.teacher_of(version) if version is not None else None

    @property
    def teachers(self) -> list[Choice]:
        """That answer in the same words."""
        version, usual = self.version, self.usual_teacher
        found: list[Choice] = []
        if self.monitor is None:
            words = f"{usual.reference}, which taught it" if usual is not None else "none taught it"
            found.append(("default", f"As usual ({words})"))
        found.append(("none", "Nobody is asked"))
        labels = set(version.labels) if version is not None else set(self.labels)
        every = (
            ModelVersion.objects.ready()
            .filter(model__project=self.project, model__task=self.task)
            .select_related("model")
            .order_by("-pk")[:MOST_CHOICES]
        )
        for one in every:
            can = one.is_asked or (one.has_network and one.is_trained)
            if one.is_asked and self.task in (monitor_subjects.VECTORS, monitor_subjects.BY_WORD):
                continue
            if self.is_several != (one.problem == monitor_subjects.SEVERAL and not one.is_asked):
                continue
            if can and set(one.labels) == labels and one != version:
                elsewhere = ", a service elsewhere" if one.is_asked else ""
                found.append((one.reference, f"{one.reference}{elsewhere}"))
        now = self.texts["teacher"]
        if now and now not in {key for key, _ in found}:
            found.append((now, now))
        return found

    @property
    def privacies(self) -> list[Choice]:
        return [(str(key), str(words)) for key, words in Monitor.Privacy.choices]

    @property
    def corrections(self) -> list[Choice]:
        return [(key, key.replace("_", " ").capitalize()) for key in monitor_rules.CORRECTIONS]

    @property
    def severities(self) -> list[str]:
        return list(alerting.SEVERITIES)

    @property
    def detector_rows(self) -> list[DetectorRow]:
        kept = self.kept_detectors()
        rows = []
        for key, (_, label) in monitor_defaults.WATCHES.items():
            if key not in kept:
                continue
            choices = [("", "Not watched")]
            for one in monitor_rules.fitting_detectors(key):
                method = catalog.find("detectors", one)
                choices.append((one, str(method["label"]) if method else one))
            now, several = self.detectors.get(key, ""), ""
            known = [part["kind"] for part in kept[key]]
            if key not in self.detectors:
                now = known[0] if len(known) == 1 else "several" if known else ""
            if len(known) > 1:
                names = [label for one, label in choices if one in known]
                several = " and ".join(names)
            rows.append(DetectorRow(key, label, now, choices, several))
        return rows

    def kept_detectors(self) -> JSON:
        if self.monitor is not None:
            return dict(self.monitor.detectors)
        regression = self.version is not None and self.version.problem == "regression"
        return monitor_defaults.detectors(
            has_labels=not regression and self.task != monitor_subjects.WRITTEN,
            several=self.is_several,
            vectors=self.task == monitor_subjects.VECTORS,
            by_word=self.task == monitor_subjects.BY_WORD,
            writes=self.task == monitor_subjects.WRITTEN,
        )

    @property
    def is_several(self) -> bool:
        """Whether a row has any number of labels."""
        if self.monitor is not None:
            return self.monitor.several_labels
        if self.is_external:
            return bool(self.texts["external_several"])
        return self.version is not None and self.version.problem == monitor_subjects.SEVERAL
