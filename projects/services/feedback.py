"""What people say is right of inputs that models were tried on, and how it becomes rows."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Missing, TooLarge
from projects.ingest import audio_folder, image_folder
from projects.ingest.formats import EMBEDDING_TASK, TABLE_TASK, TOKENS_TASK
from projects.models import DatasetVersion, Feedback, Project, User
from projects.models.feedback import FeedbackQuerySet
from projects.operations import adding
from projects.services import datasets, operations

JSON = dict[str, Any]
MOST_TEXT = 200_000  # characters
MOST_BYTES = 10 << 20  # of a picture or sound
MOST_LABEL = 20_000
MOST_CELLS = 2000
MOST_SAID = 10  # models whose answers are kept beside
MOST_NAME = 200
MEDIA: dict[str, tuple[Callable[[bytes, str], Any], str]] = {
    "image-classification": (image_folder.decoded, "picture"),
    "audio-classification": (audio_folder.decoded, "sound"),
}


def save(
    *,
    project: Project,
    task: str,
    given: Any,
    label: Any,
    said: Sequence[Mapping[str, Any]] = (),
    note: str = "",
    by: User,
) -> Feedback:
    """Keep an input with what is right. `given` is a text, {column: value} of a table, or the bytes
    of a picture or sound; `label` a label, several of them, or a number.

    Raises Invalid with `input` or `label`, and TooLarge.
    """
    if task == EMBEDDING_TASK:
        raise Invalid("Vectors have no label, so there is nothing to be said of them.")
    _refuse_nul("note", note)
    made = Feedback(
        project=project,
        task=task,
        label=_label(task, label),
        said=[_said(one) for one in said[:MOST_SAID]],
        note=note.strip()[:1000],
        created_by=by,
    )
    if task in MEDIA:
        made.sha256 = _stored(task, given)
    elif task == TABLE_TASK:
        made.cells = _cells(given)
    else:
        made.text = _text(given)
    with transaction.atomic():
        made.save()
    return made


def listed(*, project: Project) -> FeedbackQuerySet:
    """The newest first, with what their rows show."""
    return Feedback.objects.filter(project=project).select_related("created_by", "version__dataset")


def find(*, project: Project, feedback_id: int) -> Feedback:
    """Raises Missing."""
    found = listed(project=project).filter(pk=feedback_id).first()
    if found is None:
        raise Missing("There is no such feedback in this project.")
    return found


def forget(*, feedback: Feedback, by: User) -> None:
    """Delete it. What became a row stays. Raises Conflict while a version is made of it."""
    del by
    version = feedback.version
    if version is not None and version.status == DatasetVersion.Status.INGESTING:
        raise Conflict(f"{version.reference} is being made of it; delete it afterwards.")
    feedback.delete()


def promote(
    *,
    version: DatasetVersion,
    ids: Sequence[int] | None = None,
    split: str = "train",
    by: User,
) -> DatasetVersion:
    """The next version of a dataset, with feedback as further rows: with these, or with all of its
    task that is in no version yet.

    Raises Invalid where there is none, or one does not fit, and what `operations.change` raises.
    """
    with transaction.atomic():
        waiting = Feedback.objects.select_for_update(of=("self",)).filter(
            project=version.dataset.project, task=version.dataset.task
        )
        waiting = waiting.waiting() if ids is None else waiting.filter(pk__in=ids)
        chosen = list(waiting.order_by("pk").values_list("pk", flat=True)[: adding.MOST_ROWS])
        if not chosen or (ids is not None and len(chosen) < len(set(ids))):
            sentence = (
                f"There is no feedback for {version.dataset.task} that is in no version yet."
                if ids is None
                else f"Some of it is not here, or is not for {version.dataset.task}."
            )
            raise Invalid(sentence, fields={"ids": [sentence]})
        made = operations.change(
            version=version,
            operation=adding.KEY,
            options={"ids": chosen, "split": split},
            by=by,
        )
        Feedback.objects.filter(pk__in=chosen).update(version=made)
    return made


def suited(*, project: Project, task: str) -> QuerySet[DatasetVersion]:
    """The newest ready version of every dataset that feedback for a task can join."""
    return (
        DatasetVersion.objects.ready()
        .newest_of_each()
        .filter(dataset__project=project, dataset__task=task)
        .select_related("dataset")
        .order_by("dataset__name")
    )


def content(*, feedback: Feedback) -> bytes:
    """Its picture as a small PNG, or its sound as a WAV, made anew. Raises Missing."""
    if not feedback.sha256:
        raise Missing("This feedback holds no file.")
    try:
        with storage.open_blob(feedback.sha256) as file:
            encoded = file.read()
    except storage.Damaged as error:
        raise Missing(str(error)) from None
    if feedback.task == "image-classification":
        return image_folder.thumbnail(encoded, 480)
    return audio_folder.playable(encoded)


def resolved(*, project: Project, reference: str) -> DatasetVersion:
    """Of `tickets@3`, or `tickets`: its newest ready one. Raises Missing and Invalid."""
    return datasets.resolve(project=project, reference=reference)


# -- what is kept ---------------------------------------------------------------------------------


def _label(task: str, label: Any) -> str:
    """As a dataset writes it, but for what stands between several: a stroke."""
    if isinstance(label, list):
        parts = [str(one).strip() for one in label]
        text = (" " if task == TOKENS_TASK else adding.SEVERAL).join(parts)
    else:
        text = "" if label is None or isinstance(label, dict | bool) else str(label).strip()
    if not text and not isinstance(label, list):
        raise _refused("label", "Say what is right.")
    _refuse_nul("label", text)
    if len(text) > MOST_LABEL:
        raise TooLarge(f"It has {len(text):,} characters; at most {MOST_LABEL:,} are kept.")
    return text


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise _refused("input", "Send the text that was tried.")
    if len(given) > MOST_TEXT:
        raise TooLarge(f"It has {len(given):,} characters; at most {MOST_TEXT:,} are kept.")
    _refuse_nul("input", given)
    return given


def _cells(given: Any) -> JSON:
    if not isinstance(given, Mapping) or not given or len(given) > MOST_CELLS:
        raise _refused("input", "Send an object: a value by the name of each column.")
    for name, value in given.items():
        if not (value is None or isinstance(value, str | int | float)) or len(str(value)) > 10_000:
            raise _refused("input", f"{str(name)[:60]} is a number, a word or null.")
        _refuse_nul("input", f"{name}{value}")
    return {str(name)[:MOST_NAME]: value for name, value in given.items()}


def _stored(task: str, given: Any) -> str:
    decoded, what = MEDIA[task]
    if not isinstance(given, bytes) or not given:
        raise _refused("input", f"Send the {what} that was tried.")
    if len(given) > MOST_BYTES:
        raise TooLarge(f"A {what} has at most {MOST_BYTES >> 20} MiB.")
    try:
        kept = decoded(given, f"The {what}")
    except (Invalid, TooLarge):
        raise
    except Exception:  # decoders fail in more ways than can be listed
        raise _refused("input", f"This is no {what} that can be read.") from None
    with tempfile.TemporaryDirectory(dir=storage.working_folder("uploading")) as folder:
        path = Path(folder) / what
        path.write_bytes(kept.encoded)
        return storage.put(path).sha256


def _said(one: Any) -> JSON:
    if not isinstance(one, Mapping) or not isinstance(one.get("model"), str):
        raise _refused("said", "Each is an object with a model and its label.")
    label, probability = one.get("label"), one.get("probability")
    if isinstance(label, list):
        label = adding.SEVERAL.join(str(part) for part in label)
    kept: JSON = {
        "model": one["model"][:MOST_NAME],
        "label": None if label is None else str(label)[:1000],
    }
    if isinstance(probability, int | float) and 0 <= probability <= 1:
        kept["probability"] = float(probability)
    return kept


def _refuse_nul(field: str, text: str) -> None:
    if "\0" in text:  # PostgreSQL cannot keep it
        raise _refused(field, "It holds a NUL character.")


def _refused(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
