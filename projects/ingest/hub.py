"""A dataset of the Hugging Face hub (or a mirror) comes into storage at a pinned revision.

What is asked for stands in the version's reading, and what becomes of it, too:

    {"hub": {"id", "revision", "config", "splits": [...], "commit", "left": [splits not taken],
             "asked": {changes of the reading}, as long as they are still to be made,
             "files": [{"path", "bytes", "split", "sha256"? (as the hub says it),
                        "blob"? (where it is stored)}]},
     "classes": {column: [names of numbered classes]}}

Each file is stored as soon as it is whole, and what came of one before a connection, a worker or a
machine went away is gone on with. Requests go to HF_ENDPOINT, and to where it sends them.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from django.conf import settings

from distillhub.lib import leases, storage
from distillhub.lib.errors import Invalid
from distillhub.lib.later import Later
from distillhub.lib.places import taken_by_disk
from projects.ingest import hub_files, packed, reading, registry
from projects.ingest.formats import MULTI, SINGLE, TOKENS_TASK, BadFile
from projects.models import DatasetVersion

httpx2 = Later("httpx2")
huggingface_hub = Later("huggingface_hub")
errors = Later("huggingface_hub.errors")
utils = Later("huggingface_hub.utils")

MOST_FILES = 50  # of one version
UNPACKED = 4  # times what may be uploaded, of archives of files with rows
MOST_LISTED = 100_000  # files of a repository
MOST_README = 8 << 20  # bytes
TIMEOUT = 30.0  # seconds for an answer about a repository or a file
ATTEMPTS = 4  # of a file that brings nothing more
PARTIAL = 206
PAUSE = 2.0  # seconds between them
ROOM = "fetching"  # the folder of this machine where files are on their way
FORGOTTEN = 2 * 24 * 3600  # seconds after which what came of a file is dropped

ASKING = "Asking the hub"


class HubFault(BadFile):
    """The hub refuses, or what it has cannot be taken."""

    code = "hub"


class HubAway(HubFault):
    """The hub does not answer: asking again later may help."""

    code = "hub_away"


class Taking(Protocol):
    """Who takes it: a worker that holds the version."""

    version: DatasetVersion

    def beat(self, stage: str, fraction: float) -> None: ...

    def note(self, **columns: Any) -> None:
        """Write columns of the version that is not ready yet. Raises Fenced."""


def awaits(version: DatasetVersion) -> bool:
    """Whether its files, or how they are read, are still to come."""
    return version.operation is None and "asked" in version.reading.get("hub", {})


def bring(taking: Taking) -> None:
    """Fetch the version's files and understand them; its `reading` is complete afterwards.

    Raises BadFile with what to do, Away and Damaged of storage, Fenced and GivenBack.
    """
    said = dict(taking.version.reading["hub"])
    taking.beat(ASKING, 0.0)
    folder = _folder(said)
    if "files" not in said:
        chosen = _chosen(said, folder)
        said |= {"commit": chosen.pop("commit"), "left": chosen.pop("left")}
        said |= {"config": chosen.pop("config"), "files": chosen.pop("files")}
        _keep(taking, {"hub": said, "classes": chosen["classes"]})
    for place, file in enumerate(said["files"]):
        if not file.get("blob"):
            file["blob"] = _fetched(taking, said, place, folder)
            _keep(taking, taking.version.reading | {"hub": said})
    shutil.rmtree(folder, ignore_errors=True)
    _understand(taking, said)


def forget_old() -> None:
    """Drop what came of files that nobody has gone on with for days."""
    room = storage.working_folder(ROOM)
    for folder in room.iterdir():
        with suppress(OSError):
            newest = max((one.stat().st_mtime for one in folder.iterdir()), default=0.0)
            if max(newest, folder.stat().st_mtime) < time.time() - FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)


def _keep(taking: Taking, found: dict[str, Any], **columns: Any) -> None:
    taking.version.reading = found
    taking.note(reading=found, **columns)
    for name, value in columns.items():
        setattr(taking.version, name, value)


def _folder(said: dict[str, Any]) -> Path:
    """Where files of this repository and revision are on their way, on this machine."""
    named = "\n".join((settings.HF_ENDPOINT, said["id"], said["revision"]))
    digest = hashlib.sha256(named.encode()).hexdigest()[:32]
    folder = storage.working_folder(ROOM) / digest
    folder.mkdir(exist_ok=True)
    return folder


# What there is --------------------------------------------------------------------------------


def _chosen(said: dict[str, Any], folder: Path) -> dict[str, Any]:
    """{"commit", "config", "left", "classes", "files"}. Raises HubFault."""
    repository, revision = said["id"], said["revision"]
    with _told(repository, revision):
        found = huggingface_hub.HfApi(endpoint=_endpoint(), token=False).dataset_info(
            repository, revision=revision, files_metadata=True, timeout=TIMEOUT
        )
    commit, siblings = str(found.sha or ""), found.siblings or []
    if len(siblings) > MOST_LISTED:
        raise HubFault(f"{repository} has more than {MOST_LISTED:,} files.")
    listed = [
        hub_files.Listed(str(one.rfilename), int(one.size or 0), _sha256(one)) for one in siblings
    ]
    card: dict[str, Any] = {}
    readme = next((one for one in listed if one.path == "README.md"), None)
    if readme is not None and readme.bytes <= MOST_README:
        path = folder / f"{commit}.README.md"
        _download(said | {"commit": commit}, readme, path, lambda came: None)
        card = hub_files.card_of(path.read_text(encoding="utf-8", errors="replace"))
    choice = hub_files.choose(
        repository, listed, card, revision=revision, config=said["config"], splits=said["splits"]
    )
    _refuse_much(repository, choice)
    files = [
        {"path": one.file.path, "bytes": one.file.bytes, "split": one.split}
        | ({"sha256": one.file.sha256} if one.file.sha256 else {})
        for one in choice.files
    ]
    return {
        "commit": commit,
        "config": choice.config,
        "left": choice.left,
        "classes": choice.classes,
        "files": files,
    }


def _sha256(sibling: Any) -> str | None:
    """As the hub gives it, of files that git does not hold itself."""
    lfs = sibling.lfs
    found = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
    return str(found) if found else None


def _refuse_much(repository: str, choice: hub_files.Choice) -> None:
    few = "Choose fewer splits, or a smaller configuration"
    if len(choice.files) > MOST_FILES:
        raise HubFault(
            f"{repository} has its rows in {len(choice.files)} files; at most {MOST_FILES} are "
            f"taken together. {few}."
        )
    most = settings.DISTILLHUB_MAX_UPLOAD_MIB
    size = sum(one.file.bytes for one in choice.files)
    if size > most << 20:
        raise HubFault(
            f"{repository} has {size / (1 << 20):,.0f} MiB of rows; at most {most:,} MiB are taken "
            f"(DISTILLHUB_MAX_UPLOAD_MIB). {few}."
        )


# Fetching -------------------------------------------------------------------------------------


def _fetched(taking: Taking, said: dict[str, Any], place: int, folder: Path) -> str:
    """The sha256 under which a file is stored."""
    files: list[dict[str, Any]] = said["files"]
    file = files[place]
    whole = sum(one["bytes"] for one in files) or 1
    before = sum(one["bytes"] for one in files[:place])
    stage = f"Fetching file {place + 1} of {len(files)} from the hub"
    wanted = hub_files.Listed(file["path"], file["bytes"], file.get("sha256"))
    name = hashlib.sha256(f"{said['commit']}\n{file['path']}".encode()).hexdigest()[:32]
    path = folder / name

    def came(many: int) -> None:
        taking.beat(stage, min(1.0, (before + many) / whole))

    came(0)
    _download(said, wanted, path, came)
    blob = storage.put(path)
    path.unlink()
    if wanted.sha256 and blob.sha256 != wanted.sha256:
        raise HubAway(
            f"{file['path']} came damaged: its sha256 is not what the hub says. Try again."
        )
    return blob.sha256


def _download(
    said: dict[str, Any], wanted: hub_files.Listed, path: Path, came: Callable[[int], None]
) -> None:
    """A file of the commit, whole, at `path`; of what is there already the rest. `came` is told how
    many bytes there are. Raises HubFault, and what `came` raises."""
    repository = said["id"]
    url = huggingface_hub.hf_hub_url(
        repository,
        wanted.path,
        repo_type="dataset",
        revision=said["commit"],
        endpoint=_endpoint(),
    )
    part = path.with_name(f"{path.name}.part")
    part.touch()
    left, had = ATTEMPTS, -1
    while True:
        try:
            with taken_by_disk(), _told(repository, said["commit"]), part.open("r+b") as out:
                _go_on(url, wanted, out, came)
            break
        except HubAway:
            size = part.stat().st_size
            left, had = (ATTEMPTS, size) if size > had else (left - 1, had)
            if not left or leases.stopping.wait(PAUSE):
                raise
    part.rename(path)


def _go_on(url: str, wanted: hub_files.Listed, out: IO[bytes], came: Callable[[int], None]) -> None:
    """Add to `out` what the file has beyond it."""
    found = huggingface_hub.get_hf_file_metadata(url, token=False, timeout=TIMEOUT)
    size = wanted.bytes if found.size is None else int(found.size)
    if size != wanted.bytes:
        raise HubFault(
            f"The hub lists {wanted.path} with {wanted.bytes:,} bytes, and sends {size:,}."
        )
    have = out.seek(0, os.SEEK_END)
    if have == size:
        return
    headers = utils.build_hf_headers(token=False) | {"Accept-Encoding": "identity"}
    if 0 < have < size:
        headers["Range"] = f"bytes={have}-"
    session = huggingface_hub.get_session()
    # The library's own download keeps nothing of a file that was cut within ten megabytes.
    with session.stream(
        "GET", found.location, headers=headers, timeout=TIMEOUT, follow_redirects=True
    ) as response:
        utils.hf_raise_for_status(response)
        if response.status_code != PARTIAL:
            out.truncate(0)
            have = out.seek(0)
        for piece in response.iter_bytes():
            have += out.write(piece)
            if have > size:
                raise HubFault(f"The hub sends more of {wanted.path} than it lists.")
            came(have)
    if have < size:
        raise HubAway(f"The hub sent only {have:,} of the {size:,} bytes of {wanted.path}.")


def _endpoint() -> str:
    return str(settings.HF_ENDPOINT).rstrip("/")


@contextmanager
def _told(repository: str, revision: str) -> Iterator[None]:
    """Says in a sentence what the hub's client raises."""
    try:
        yield
    except errors.GatedRepoError:
        raise HubFault(
            f"{repository} is given only to those who have agreed to its terms. Download it there, "
            "and upload the files."
        ) from None
    except errors.RepositoryNotFoundError:
        raise HubFault(f"The hub has no public dataset called {repository}.") from None
    except errors.RevisionNotFoundError:
        raise HubFault(f"{repository} has no revision {revision}.") from None
    except errors.EntryNotFoundError:
        raise HubFault(f"{repository} lists a file that it does not have.") from None
    except errors.OfflineModeIsEnabled:
        raise HubFault(
            "This machine may not ask the hub: HF_HUB_OFFLINE is set. Upload the files."
        ) from None
    except Exception as error:
        away = (httpx2.HTTPError, httpx2.StreamError, errors.HfHubHTTPError)
        if not isinstance(error, away):
            raise
        raise HubAway(
            f"The hub did not answer for {repository} ({type(error).__name__}). Try again later, "
            "set HF_ENDPOINT to a mirror, or upload the files."
        ) from None


# Understanding --------------------------------------------------------------------------------


def _understand(taking: Taking, said: dict[str, Any]) -> None:
    """Give the version its format and reading, as an upload has them. Raises BadFile."""
    version = taking.version
    taking.beat("Looking at what came", 0.0)
    files = [kept for one in said["files"] for kept in _unpacked(one, version.dataset.task)]
    if len(files) > MOST_FILES:
        raise HubFault(f"Its archives hold more than {MOST_FILES} files.")
    forms = {registry.get(one.pop("format")) for one in files}
    if len(forms) > 1:
        labels = " and ".join(sorted(one.label for one in forms))
        raise BadFile(f"The files are of different formats: {labels}. Choose a configuration.")
    form, task = forms.pop(), version.dataset.task
    if task not in form.tasks:
        raise BadFile(f"{form.label} is for {' or '.join(form.tasks)}, not for {task}.")
    asked, classes = dict(said["asked"]), version.reading["classes"]
    problem = str(asked.get("problem") or "")
    first = reading.first(form, files, storage.open_blob, task=task, problem=problem)
    kept = {"hub": said, "classes": classes}
    found = {"format": form.key, "source_sha256": files[0]["sha256"]}
    found["source_bytes"] = sum(one["bytes"] for one in files)
    _keep(taking, first | kept, **found)  # should the rest fail, a person reads it differently
    done = {name: value for name, value in said.items() if name != "asked"}
    try:
        changes = _with_classes(first, asked, classes)
        complete = reading.corrected(form, first | kept, changes, storage.open_blob)
        reading.check_usable(form, complete, storage.open_blob)
    except BadFile:
        raise
    except Invalid as error:
        raise BadFile(error.detail) from None
    _keep(taking, complete | {"hub": done})


def _with_classes(
    first: dict[str, Any], asked: dict[str, Any], classes: dict[str, list[str]]
) -> dict[str, Any]:
    """What was asked for, and what the names of numbered classes tell beside."""
    columns = first["columns"] | (asked.get("columns") or {})
    known = [name for name in classes if name in (*columns.values(), *first["others"])]
    given = asked.get("columns") or {}
    guessed = "label" in first["columns"] and "label" not in given
    if guessed and columns.get("label") not in classes and len(known) == 1:
        columns["label"] = known[0]
        asked["columns"] = given | {"label": known[0]}
    if columns.get("label") in classes:
        if first["task"] == TOKENS_TASK:
            asked.setdefault("tag_names", classes[columns["label"]])
        elif first["problem"] != MULTI:
            asked.setdefault("problem", SINGLE)
    return asked


def _unpacked(one: dict[str, Any], task: str) -> Iterator[dict[str, Any]]:
    """The file that came, or those that it holds, with their formats. Raises BadFile."""
    name = _name(one["path"])
    most = UNPACKED * settings.DISTILLHUB_MAX_UPLOAD_MIB << 20
    try:
        with storage.open_blob(one["blob"]) as handle:
            if not packed.inside(handle, name):
                form = registry.recognise(handle, name, task)
                kept = {"name": name, "sha256": one["blob"], "bytes": one["bytes"]}
                yield kept | {"split": one["split"], "format": form.key}
                return
        with tempfile.TemporaryDirectory(dir=storage.working_folder(ROOM)) as folder:
            path = storage.local_copy(one["blob"], Path(folder) / "file")
            for kept in packed.stored(path, name, most, task):
                yield kept | {"split": one["split"] or hub_files.split_of(kept["name"])}
    except BadFile as error:
        said = error.detail
        raise BadFile(said if name in said else f"{name}: {said}") from None


def _name(path: str) -> str:
    return "".join(one if one.isprintable() else "_" for one in path)[-255:]
