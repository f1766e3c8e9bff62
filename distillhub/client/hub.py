"""What is kept at a hub: projects, datasets, models."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distillhub.client import credentials, packing
from distillhub.client.connection import JSON, Connection, Progress
from distillhub.client.runs import Failed, Run
from distillhub.client.tracked import TrackedRun

GLANCE = 1.0  # seconds between two looks at what a worker does


class Hub:
    """One installation, as one person."""

    def __init__(self, address: str = "", token: str = "") -> None:
        """Without arguments: DISTILLHUB_URL and DISTILLHUB_TOKEN, else what `distillhub login`
        kept. Raises credentials.Unknown when nothing says where, or with which token."""
        if not (address and token):
            found = credentials.find(address)
            address, token = found.address, token or found.token
        self.connection = Connection(address, token)

    def __repr__(self) -> str:
        return f"Hub({self.connection.address!r})"

    def me(self) -> JSON:
        return self.connection.get("me/")

    def projects(self) -> Iterator["Project"]:
        for found in self.connection.pages("projects/"):
            yield Project(self.connection, found["slug"], found)

    def project(self, slug: str) -> "Project":
        """Raises Refused (404) where there is none for you."""
        return Project(self.connection, slug, self.connection.get(f"projects/{slug}/"))

    def create_project(self, name: str, *, description: str = "") -> "Project":
        made = self.connection.post("projects/", {"name": name, "description": description})
        return Project(self.connection, made["slug"], made)


class Project:
    def __init__(self, connection: Connection, slug: str, told: JSON) -> None:
        self.connection, self.slug, self.told = connection, slug, told
        self.path = f"projects/{slug}/"

    def __repr__(self) -> str:
        return f"Project({self.slug!r})"

    def upload(
        self,
        *files: str | Path,
        name: str,
        task: str,
        columns: Mapping[str, Any] | None = None,
        splits: Mapping[str, Any] | None = None,
        moved: Progress | None = None,
    ) -> "DatasetVersion":
        """A new dataset of a file, or of several (train, validation, test); what there is of that
        name gets its next version. `columns` and `splits` as the REST API takes them."""
        if not files:
            raise ValueError("Name a file to upload.")
        sent = [self.connection.upload(Path(one), moved=moved) for one in files]
        body: dict[str, Any] = {"upload": sent if len(sent) > 1 else sent[0]}
        if columns is not None:
            body["columns"] = columns
        if splits is not None:
            body["splits"] = splits
        if any(one["name"] == name for one in self.datasets()):
            made = self.connection.post(f"{self.path}datasets/{name}/versions/", body)
        else:
            made = self.connection.post(
                f"{self.path}datasets/", {"name": name, "task": task, **body}
            )
        return DatasetVersion(self, name, int(made.get("version") or 1))

    def datasets(self) -> Iterator[JSON]:
        return self.connection.pages(f"{self.path}datasets/")

    def dataset(self, reference: str) -> "DatasetVersion":
        """`mails@2`, or `mails` for its newest."""
        name, _, number = reference.partition("@")
        if not number:
            versions = self.connection.pages(f"{self.path}datasets/{name}/versions/")
            number = str(max(one["version"] for one in versions))
        return DatasetVersion(self, name, int(number))

    def models(self, role: str = "") -> Iterator[JSON]:
        return self.connection.pages(f"{self.path}models/", role=role)

    def register(
        self, name: str, *, role: str, task: str, source: Mapping[str, Any]
    ) -> "ModelVersion":
        """A teacher or student; `source` as the REST API takes it."""
        body = {"name": name, "role": role, "task": task, "source": dict(source)}
        self.connection.post(f"{self.path}models/", body)
        return ModelVersion(self, name, 1)

    def model(self, reference: str) -> "ModelVersion":
        """`tiny@2`, `tiny@production`, `tiny` for its newest, or `run/12` for what that run made.
        Raises Refused and LookupError."""
        if reference.startswith("run/") and reference[4:].isdigit():
            reference = self.find_run(int(reference[4:])).output
        name, _, wanted = reference.partition("@")
        if wanted.isdigit():
            return ModelVersion(self, name, int(wanted))
        versions = list(self.connection.pages(f"{self.path}models/{name}/versions/"))
        fitting = [one for one in versions if not wanted or wanted in one["aliases"]]
        if not fitting:
            raise LookupError(f"{name} has no version {wanted or 'at all'}.")
        return ModelVersion(self, name, max(one["version"] for one in fitting))

    def run(self, configuration: Mapping[str, Any] | None = None, **more: Any) -> "Run":
        """Launch one; what is left out has the hub's defaults. Raises Refused with every fault."""
        made = self.connection.post(f"{self.path}runs/", {**(configuration or {}), **more})
        return Run(self.connection, self.path, made)

    def runs(self, **query: Any) -> Iterator["Run"]:
        """As the table of runs: `status`, `tag`, `q`, `filter`, `order`."""
        for found in self.connection.pages(f"{self.path}runs/", **query):
            yield Run(self.connection, self.path, found)

    def find_run(self, number: int) -> "Run":
        return Run(self.connection, self.path, self.connection.get(f"{self.path}runs/{number}/"))

    def track(
        self,
        name: str = "",
        *,
        params: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        task: str = "",
        steps: int | None = None,
    ) -> TrackedRun:
        """A run that is trained by this program. Use it as a context: it ends with it."""
        body: dict[str, Any] = {"name": name, "params": dict(params or {}), "tags": list(tags)}
        if task:
            body["task"] = task
        made = self.connection.post(f"{self.path}runs/track/", body)
        run = TrackedRun(self.connection, self.path, made)
        if steps is not None:
            self.connection.patch(run.path, {"steps": steps})
        return run

    def import_runs(
        self,
        source: str | Path = "",
        *,
        server: str = "",
        token: str = "",
        user: str = "",
        experiments: Sequence[str] = (),
        name: str = "",
        files: bool = False,
        take: bool = False,
        moved: Progress | None = None,
    ) -> "Import":
        """Runs that another tracker kept: in a folder (which is packed, with `files` also those
        beside its runs of MLflow), in a file, or at a tracking server of MLflow. Looked into first;
        with `take`, taken at once."""
        body: dict[str, Any] = {"take": take}
        if server:
            told = {"server": server, "token": token, "user": user}
            body |= {**told, "experiments": list(experiments)}
        else:
            body |= {"upload": self._packed(Path(source), moved, files), "name": name}
        made = self.connection.post(f"{self.path}imports/", body)
        return Import(self, int(made["id"]))

    def _packed(self, source: Path, moved: Progress | None, files: bool) -> str:
        if not source.is_dir():
            return self.connection.upload(source, moved=moved)
        with tempfile.TemporaryDirectory() as place:
            called = source.resolve().name or "runs"
            target = Path(place) / f"{called}.zip"
            packing.pack(source, target, files=files)
            return self.connection.upload(target, moved=moved)


class _Made:
    """What a worker makes: asked for until it is ready."""

    path: str
    project: Project

    def told(self) -> JSON:
        return self.project.connection.get(self.path)

    def wait(self, *, seconds: float = 3600.0) -> Any:
        """Until it is ready; itself. Raises Failed with the reason, and TimeoutError."""
        give_up = time.monotonic() + seconds
        while True:
            told = self.told()
            if told["status"] == "ready":
                return self
            if told["status"] == "failed":
                error = told.get("error") or {}
                raise Failed(f"{self}: {error.get('detail') or 'it failed'}")
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self} is still {told['status']}.")
            time.sleep(GLANCE)


class DatasetVersion(_Made):
    def __init__(self, project: Project, name: str, number: int) -> None:
        self.project, self.name, self.number = project, name, number
        self.path = f"{project.path}datasets/{name}/versions/{number}/"

    def __repr__(self) -> str:
        return f"{self.name}@{self.number}"

    def rows(self, **query: Any) -> Iterator[JSON]:
        return self.project.connection.pages(f"{self.path}rows/", **query)

    def download(self, target: str | Path, *, moved: Progress | None = None) -> Path:
        """Its Parquet file."""
        return self.project.connection.download(f"{self.path}download/", Path(target), moved=moved)


class ModelVersion(_Made):
    def __init__(self, project: Project, name: str, number: int) -> None:
        self.project, self.name, self.number = project, name, number
        self.path = f"{project.path}models/{name}/versions/{number}/"

    def __repr__(self) -> str:
        return f"{self.name}@{self.number}"

    def predict(self, inputs: Sequence[Any], **options: Any) -> list[JSON]:
        """One answer for each input: `{"label", "probabilities"}`, or what its task answers."""
        body = {"inputs": list(inputs), **options}
        answer = self.project.connection.post(f"{self.path}predict/", body)
        found: list[JSON] = answer["predictions"]
        return found

    def set_alias(self, alias: str) -> None:
        place = f"{self.project.path}models/{self.name}/aliases/{alias}/"
        self.project.connection.put(place, {"version": self.number})

    def download(self, target: str | Path, *, moved: Progress | None = None) -> Path:
        """Its folder as a zip."""
        return self.project.connection.download(f"{self.path}download/", Path(target), moved=moved)


class Import(_Made):
    """What was found at another tracker, and what was taken of it."""

    def __init__(self, project: Project, number: int) -> None:
        self.project, self.number = project, number
        self.path = f"{project.path}imports/{number}/"

    def __repr__(self) -> str:
        return f"import {self.number}"

    def take(self, keys: Sequence[str] | None = None) -> "Import":
        """All that was found, or of it the runs with these keys; `wait` for it."""
        self.project.connection.post(f"{self.path}take/", {"runs": list(keys) if keys else None})
        return self
