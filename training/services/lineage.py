"""Where a model comes from, back to the rows it learnt from, and what came of it.

A graph is `{"nodes": [...], "edges": [...]}`. A node has an `id` such as `run/3`, `tickets@1`,
`tiny@2`, `export/7`, `monitor/live` or `tiny@production`, and a `kind` (run, dataset, model,
export, monitor, alias); an edge goes from what was used to what used it, and says as what. It is
read level by level, a few queries each, however wide.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from projects.models import DatasetVersion, ModelVersion
from training.models import Export, Run

JSON = dict[str, Any]

MOST_NODES = 300  # of one graph; what lies beyond is left out, and said
MOST_LATER = 50  # runs, versions and exports that came of a version
#: Where a source names versions of models, and as what they were used.
GIVERS = {"from": "weights", "initialise_from": "weights"}


def of_run(*, run: Run) -> JSON:
    """Back from a run to its data, and the version it left."""
    graph = _Graph(run.project_id)
    graph.follow(runs=[run.pk])
    if run.output is not None:
        graph.model(run.output)
        graph.edge(f"run/{run.number}", run.output.reference, "output")
    return graph.told()


def of_version(*, version: ModelVersion) -> JSON:
    """Back from a version to its data, and on to what was made of it."""
    graph = _Graph(version.model.project_id)
    graph.follow(versions=[version.pk])
    graph.later(version)
    return graph.told()


def configuration_digest(run: Run) -> str:
    """sha256 of a run's complete configuration, as JSON with sorted keys."""
    text = json.dumps(run.config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class _Graph:
    def __init__(self, project: int) -> None:
        self.project = project
        self.nodes: dict[str, JSON] = {}
        self.edges: dict[tuple[str, str, str], None] = {}
        self.is_cut = False

    def told(self) -> JSON:
        edges = [{"from": one, "to": other, "as": how} for one, other, how in self.edges]
        return {"nodes": list(self.nodes.values()), "edges": edges, "complete": not self.is_cut}

    def edge(self, one: str, other: str, how: str) -> None:
        self.edges[one, other, how] = None

    # -- what things are --------------------------------------------------------------------------

    def run(self, run: Run) -> None:
        self.nodes[f"run/{run.number}"] = {
            "id": f"run/{run.number}",
            "kind": "run",
            "number": run.number,
            "name": run.name,
            "status": run.status,
            "configuration": configuration_digest(run),
            "made_with": run.summary.get("made_with"),
        }

    def model(self, version: ModelVersion) -> None:
        self.nodes[version.reference] = {
            "id": version.reference,
            "kind": "model",
            "role": version.model.role,
            "architecture": version.architecture,
            "parameters": version.parameters,
            "source": version.source.get("kind"),
            "told": _origin(version),
        }

    def data(self, version: DatasetVersion) -> None:
        self.nodes[version.reference] = {
            "id": version.reference,
            "kind": "dataset",
            "rows": version.rows,
            "fingerprint": version.fingerprint,
            "told": version.told,
            "source": {"name": version.source_name, "sha256": version.source_sha256},
        }

    # -- back -------------------------------------------------------------------------------------

    def follow(self, *, runs: Iterable[int] = (), versions: Iterable[int] = ()) -> None:
        """Add these rows and everything they come from."""
        waiting: dict[type, set[int]] = {
            Run: set(runs),
            ModelVersion: set(versions),
            DatasetVersion: set(),
        }
        seen: dict[type, set[int]] = {kind: set() for kind in waiting}

        def await_(kind: type, pk: int | None) -> None:
            if pk is not None and pk not in seen[kind]:
                waiting[kind].add(pk)

        while any(waiting.values()):
            if len(self.nodes) >= MOST_NODES:
                self.is_cut = True
                return
            now, waiting = waiting, {kind: set() for kind in waiting}
            for kind, pks in now.items():
                seen[kind] |= pks
            for run in self._runs(now[Run]):
                self.run(run)
                here = f"run/{run.number}"
                used: list[tuple[str, DatasetVersion | ModelVersion | None]] = [
                    ("dataset", run.dataset_version),
                    ("student", run.student),
                    *(("teacher", one) for one in run.teachers.all()),
                ]
                for how, one in used:
                    if one is not None:
                        self.edge(one.reference, here, how)
                        await_(type(one), one.pk)
            for giver, model, how in self._givers(now[ModelVersion]):
                self.edge(_named(giver), model.reference, how)
                await_(type(giver), giver.pk)
            for source, data, how in self._parents(now[DatasetVersion]):
                self.edge(source.reference, data.reference, how)
                await_(type(source), source.pk)

    def _runs(self, pks: set[int]) -> list[Run]:
        if not pks:
            return []
        found = Run.objects.filter(pk__in=pks).order_by("-number")
        found = found.select_related("dataset_version__dataset", "student__model")
        return list(found.prefetch_related("teachers__model")[:MOST_NODES])

    def _givers(
        self, pks: set[int]
    ) -> list[tuple[Run | ModelVersion | DatasetVersion, ModelVersion, str]]:
        """What these versions of models come from: a run, another's weights, members, answers."""
        if not pks:
            return []
        versions = list(
            ModelVersion.objects.filter(pk__in=pks).select_related("model", "produced_by")
        )
        found: list[tuple[Run | ModelVersion | DatasetVersion, ModelVersion, str]] = []
        named: dict[str, list[tuple[ModelVersion, str]]] = {}
        answered: dict[str, list[ModelVersion]] = {}
        numbers: dict[int, list[ModelVersion]] = {}
        for version in versions:
            self.model(version)
            source = version.source
            made_by = getattr(version, "produced_by", None)
            if made_by is not None:
                found.append((made_by, version, "output"))
            elif source.get("kind") == "run":
                numbers.setdefault(int(source["run"]), []).append(version)
            for key, how in GIVERS.items():
                if source.get(key):
                    named.setdefault(str(source[key]), []).append((version, how))
            for member in source.get("members", []):
                named.setdefault(str(member), []).append((version, "member"))
            if version.is_recorded:
                answered.setdefault(str(source["dataset"]), []).append(version)
        if numbers:
            runs = Run.objects.filter(project=self.project, number__in=numbers)
            found += [(run, version, "output") for run in runs for version in numbers[run.number]]
        for giver in self._models(named):
            found += [(giver, version, how) for version, how in named[giver.reference]]
        for data in self._datasets(answered):
            found += [(data, version, "answers") for version in answered[data.reference]]
        return found

    def _parents(
        self, pks: set[int]
    ) -> list[tuple[DatasetVersion | ModelVersion, DatasetVersion, str]]:
        """What these versions of datasets were made of, and which teachers were asked."""
        if not pks:
            return []
        versions = list(
            DatasetVersion.objects.filter(pk__in=pks).select_related("dataset", "parent__dataset")
        )
        found: list[tuple[DatasetVersion | ModelVersion, DatasetVersion, str]] = []
        others: dict[int, list[tuple[DatasetVersion, str]]] = {}
        asked: dict[str, list[tuple[DatasetVersion, str]]] = {}
        for version in versions:
            self.data(version)
            done = version.operation or {}
            how = str(done.get("operation", "parent"))
            if version.parent is not None:
                found.append((version.parent, version, how))
            for pk in done.get("others", []):
                others.setdefault(pk, []).append((version, how))
            options = done.get("options") or {}
            if how == "live":
                self._monitor(str(options["monitor"]), version, options.get("retraining"))
            teacher = options.get("teacher")
            if isinstance(teacher, str):
                asked.setdefault(teacher, []).append((version, "answers"))
        if others:
            more = DatasetVersion.objects.filter(pk__in=others).select_related("dataset")
            found += [(one, version, how) for one in more for version, how in others[one.pk]]
        for model in self._models(asked):
            found += [(model, version, how) for version, how in asked[model.reference]]
        return found

    def _monitor(self, name: str, version: DatasetVersion, retraining: int | None) -> None:
        """What sent the live rows of a version."""
        key = f"monitor/{name}"
        self.nodes[key] = {"id": key, "kind": "monitor", "name": name, "retraining": retraining}
        self.edge(key, version.reference, "live")

    def _models(self, references: Iterable[str]) -> list[ModelVersion]:
        wanted = set(references)
        if not wanted:
            return []
        names = {one.rpartition("@")[0] for one in wanted}
        known = ModelVersion.objects.select_related("model").filter(
            model__project=self.project, model__name__in=names
        )
        return [one for one in known if one.reference in wanted]

    def _datasets(self, references: Iterable[str]) -> list[DatasetVersion]:
        wanted = set(references)
        if not wanted:
            return []
        names = {one.rpartition("@")[0] for one in wanted}
        known = DatasetVersion.objects.select_related("dataset").filter(
            dataset__project=self.project, dataset__name__in=names
        )
        return [one for one in known if one.reference in wanted]

    # -- and on -----------------------------------------------------------------------------------

    def later(self, version: ModelVersion) -> None:
        """What was made of a version: exports, runs that it began or taught, with what they left,
        versions with its weights, and the aliases that mean it now."""
        here = version.reference
        for alias in version.aliases.order_by("name"):
            key = f"{version.model.name}@{alias.name}"
            self.nodes[key] = {"id": key, "kind": "alias", "name": alias.name}
            self.edge(here, key, "alias")
        exports = list(Export.objects.filter(version=version)[: MOST_LATER + 1])
        of_weights = Q(source__from=here) | Q(source__initialise_from=here)
        made = list(
            ModelVersion.objects.filter(of_weights, model__project=self.project)
            .select_related("model")
            .order_by("-pk")[: MOST_LATER + 1]
        )
        uses = Q(student=version) | Q(teachers=version)
        runs = list(
            Run.objects.filter(uses, control_of=None)
            .select_related("output__model")
            .prefetch_related("teachers")
            .distinct()
            .order_by("-number")[: MOST_LATER + 1]
        )
        self.is_cut |= any(len(found) > MOST_LATER for found in (exports, made, runs))
        for export in exports[:MOST_LATER]:
            self._export(export, here)
        for one in made[:MOST_LATER]:
            self.model(one)
            self.edge(here, one.reference, "weights")
        for run in runs[:MOST_LATER]:
            self.run(run)
            if run.student_id == version.pk:
                self.edge(here, f"run/{run.number}", "student")
            if version in run.teachers.all():
                self.edge(here, f"run/{run.number}", "teacher")
            if run.output is not None:
                self.model(run.output)
                self.edge(f"run/{run.number}", run.output.reference, "output")

    def _export(self, export: Export, here: str) -> None:
        key = f"export/{export.pk}"
        self.nodes[key] = {
            "id": key,
            "kind": "export",
            "format": export.format,
            "compress": export.compress["kind"] if export.compress else None,
            "status": export.status,
            "bytes": export.size_bytes,
        }
        self.edge(here, key, "export")


def _named(one: Run | ModelVersion | DatasetVersion) -> str:
    return f"run/{one.number}" if isinstance(one, Run) else one.reference


def _origin(version: ModelVersion) -> str:
    """Where a version's weights come from, in a few words."""
    source = version.source
    match source.get("kind"):
        case "hub":
            return f"{source.get('id')} at {str(source.get('revision', ''))[:12]}"
        case "upload":
            return f"uploaded {source.get('file', '')}".strip()
        case "api":
            return f"{source.get('model', '')} through its API"
        case "architecture":
            return "drawn by each run's seed" if not version.files else "begun from weights"
        case "column":
            return "recorded answers"
        case "ensemble":
            return "several that speak together"
        case "derived":
            return str((source.get("made") or {}).get("said") or "cut out of another")
        case "export":
            return f"made smaller by {source['how']}" if source.get("how") else "an export"
        case _:
            return ""
