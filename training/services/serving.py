"""Asking a model version about inputs that stand in no dataset: through REST and on the playground.

The predictor of this machine answers (worker/predictor.py). What is no input of the version's task
is refused here, each by its place; what cannot be read (a damaged picture) is told beside the
answers to the others.
"""

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Missing, TooLarge
from projects.models import ModelVersion, Project
from projects.services import registry
from training.models import Export, Run
from training.services import exports, service_answers
from training.worker import predictor
from training.worker.predictor import Model, Shipped

JSON = dict[str, Any]
MOST_INPUTS = 256
MOST_TEXT = 200_000  # characters
MOST_BYTES = 10 << 20  # of a picture or a sound
MOST_TOGETHER = 128 << 20  # of all of a request
MOST_TOKENS = 512  # of a text that is written
MEDIA = {"image-classification": "picture", "audio-classification": "sound"}
TABLES = "tabular-classification"
WRITTEN = "text-generation"
FOLDER = "model/"  # of a run's files
DAMAGED = "Its stored files are damaged; restore them from a backup, or make the version again."


class NotAsked(Conflict):
    """This version answers no new inputs."""

    code = "no_answers"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model said. An answer to an input that could not be read is {"error"}."""

    model: str  # the reference of the one that answered
    answers: list[JSON]
    problem: str
    labels: list[str]
    milliseconds: float
    latency: JSON | None = None  # {"median_ms", "calls", "of"}


@dataclass(slots=True)
class Given:
    """Inputs as the predictor takes them."""

    inputs: list[JSON] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)

    def add(self, content: bytes) -> None:
        """One picture or sound."""
        self.inputs.append({"piece": len(self.pieces)})
        self.pieces.append(content)


def predict(
    *,
    version: ModelVersion,
    inputs: Sequence[Any],
    export: int | None = None,
    top: int | None = None,
    measure: int = 0,
    written: Mapping[str, Any] | None = None,
    budget: Decimal | None = None,
    labels: Sequence[str] = (),
) -> Answered:
    """What the version (or an export of it) answers to each input. `top` are the probabilities of
    an answer, at most; `measure` how often the first input is timed; `written` says of texts that
    are written {"most", "temperature", "seed", "shown"}. A service answers within a `budget` only,
    with one of these `labels`.

    Raises Invalid with `inputs.N` of what is no input, TooLarge, NotAsked, exports.NotReady, and
    what predictor.predict raises.
    """
    given = read(version.model.task, inputs)
    if version.is_asked and version.status == ModelVersion.Status.READY and budget is not None:
        return _by_service(version, given, labels, budget, written)
    require_asked(version)
    if version.is_ensemble:
        return _together(version, inputs, top, measure, written)
    shipped = None
    if export is not None:
        shipped = exports.find(version=version, export_id=export)
        exports.files(export=shipped)  # raises NotReady
    return _said(model_of(version, shipped), given, _options(top, measure, written))


def predict_run(
    *,
    run: Run,
    inputs: Sequence[Any],
    top: int | None = None,
    measure: int = 0,
    written: Mapping[str, Any] | None = None,
) -> Answered:
    """The same of what a run trained, also where that is no version: of a control, or a trial."""
    given = read(run.task, inputs)
    files = model_files(run)
    if not files:
        raise NotAsked(f"Run {run.number} has left no model (it is {run.status}).")
    model = Model(f"run/{run.number}", run.task, files)
    return _said(model, given, _options(top, measure, written))


def model_files(run: Run) -> tuple[JSON, ...]:
    """Of the model among the files that a run left."""
    kept = run.artifacts.filter(kind="model", name__startswith=FOLDER).order_by("name")
    return tuple(
        {"name": one.name.removeprefix(FOLDER), "sha256": one.sha256, "bytes": one.bytes}
        for one in kept
    )


def _options(top: int | None, measure: int, written: Mapping[str, Any] | None) -> JSON:
    return {"top": top, "measure": measure, **(written or {})}


def _said(model: Model, given: Given, options: JSON) -> Answered:
    try:
        said = predictor.predict(model, given.inputs, given.pieces, options=options)
    except storage.Damaged as error:
        raise NotAsked(f"{model.name}: {error} {DAMAGED}", code="damaged") from None
    faults = [one.get("error") for one in said["answers"]]
    if all(faults):
        fields = {f"inputs.{place}": [str(one)] for place, one in enumerate(faults)}
        raise Invalid(f"inputs.0: {faults[0]}", fields=fields)
    return Answered(
        model=model.name,
        answers=said["answers"],
        problem=said["problem"],
        labels=said["labels"],
        milliseconds=said["milliseconds"],
        latency=said["latency"],
    )


def require_asked(version: ModelVersion) -> None:
    """Raises NotAsked, with what to do instead."""
    if version.status != ModelVersion.Status.READY:
        why = "is still being inspected" if version.status == "inspecting" else "failed"
        raise NotAsked(f"{version.reference} {why}: it cannot be asked.")
    if version.is_recorded:
        raise NotAsked(
            f"{version.reference} is recorded in columns of {version.source['dataset']}: it has no "
            "answer to anything new. Distil it into a student, and ask that."
        )
    if version.is_asked:
        raise NotAsked(
            f"{version.reference} is a service, where each answer may cost: say the budget of this "
            "question."
        )
    if not version.is_trained and not version.is_ensemble:
        raise NotAsked(f"{version.reference} has learned nothing yet: train it first.")


def may_be_asked(version: ModelVersion) -> bool:
    if version.is_asked and version.status == ModelVersion.Status.READY:
        return True
    try:
        require_asked(version)
    except NotAsked:
        return False
    return True


def _by_service(
    version: ModelVersion,
    given: Given,
    labels: Sequence[str],
    budget: Decimal,
    written: Mapping[str, Any] | None,
) -> Answered:
    texts = [one.get("text") for one in given.inputs]
    if not all(isinstance(text, str) for text in texts):
        raise Invalid("A service is asked texts.", fields={"inputs": ["Send texts."]})
    known = list(version.labels or labels)
    began = time.perf_counter()
    answers = service_answers.answer(
        version=version,
        texts=[str(text) for text in texts],
        labels=known,
        budget=budget,
        tokens=(written or {}).get("most"),
    )
    milliseconds = round(1000.0 * (time.perf_counter() - began), 1)
    return Answered(version.reference, answers, "single_label", known, milliseconds)


def model_of(version: ModelVersion, shipped: Export | None = None) -> Model:
    """The version as the predictor knows it."""
    export = None
    if shipped is not None:
        export = Shipped(version.reference, shipped.format, tuple(shipped.files))
    return Model(version.reference, version.model.task, tuple(version.files), export)


def named(*, project: Project, name: str, version: str) -> ModelVersion:
    """A version by its number, an alias, or `latest`: the newest that is ready. Raises Missing and
    Invalid."""
    if version.isascii() and version.isdigit():
        return registry.find(project=project, name=name, number=int(version))
    if version in ("", "latest"):
        return registry.resolve(project=project, reference=name)
    return registry.resolve(project=project, reference=f"{name}@{version}")


# -- inputs ---------------------------------------------------------------------------------------


def read(task: str, inputs: Sequence[Any]) -> Given:
    """Inputs of a task, each in its place. Raises Invalid and TooLarge."""
    if not inputs:
        sentence = "Send at least one input."
        raise Invalid(sentence, fields={"inputs": [sentence]})
    if len(inputs) > MOST_INPUTS:
        raise TooLarge(f"At most {MOST_INPUTS} inputs are answered at once; send several requests.")
    require_bounded([len(one) for one in inputs if isinstance(one, bytes)])
    given, faults = Given(), {}
    for place, one in enumerate(inputs):
        try:
            _read(task, one, given)
        except Invalid as fault:
            faults[f"inputs.{place}"] = [fault.detail]
    if faults:
        where, sentences = next(iter(faults.items()))
        raise Invalid(f"{where}: {sentences[0]}", fields=faults)
    return given


def require_bounded(sizes: Sequence[int]) -> None:
    """Of pictures or sounds, in bytes. Raises TooLarge."""
    if len(sizes) > MOST_INPUTS:
        raise TooLarge(f"At most {MOST_INPUTS} inputs are answered at once; send several requests.")
    if max(sizes, default=0) > MOST_BYTES:
        raise TooLarge(f"A picture or a sound has at most {MOST_BYTES >> 20} MiB.")
    if sum(sizes) > MOST_TOGETHER:
        raise TooLarge(
            f"All inputs of a request have at most {MOST_TOGETHER >> 20} MiB together; send "
            "several requests."
        )


def _read(task: str, one: Any, given: Given) -> None:
    if task in MEDIA:
        given.add(_content(one, MEDIA[task]))
    elif task == TABLES:
        if not isinstance(one, Mapping):
            raise Invalid("An input is an object: a value by the name of each column.")
        nested = [name for name, value in one.items() if isinstance(value, dict | list)]
        if nested:
            raise Invalid(f"{nested[0]} is a number, a word or null.")
        given.inputs.append({"columns": dict(one)})
    elif task == WRITTEN and isinstance(one, list):
        given.inputs.append({"messages": one})
    elif task == WRITTEN and isinstance(one, Mapping) and "messages" in one:
        given.inputs.append({"messages": one["messages"]})
    else:
        text = one.get("text", one.get("prompt")) if isinstance(one, Mapping) else one
        if not isinstance(text, str):
            raise Invalid("An input is a text.")
        if len(text) > MOST_TEXT:
            raise TooLarge(f"A text has {len(text):,} characters; at most {MOST_TEXT:,} are read.")
        given.inputs.append({"text": text})


def _content(one: Any, what: str) -> bytes:
    """The bytes of a file that was sent: as they are, or in base64, as a `data:` address or not."""
    if isinstance(one, Mapping):
        one = one.get("base64")
    if isinstance(one, str):
        text = one.partition(",")[2] if one.startswith("data:") else one
        try:
            one = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid(f"A {what} is sent as base64, or as a file of a form.") from None
    if not isinstance(one, bytes) or not one:
        raise Invalid(f"A {what} is sent as base64, or as a file of a form.")
    if len(one) > MOST_BYTES:
        raise TooLarge(f"A {what} has at most {MOST_BYTES >> 20} MiB.")
    return one


# -- several that speak together ------------------------------------------------------------------


def _together(
    version: ModelVersion,
    inputs: Sequence[Any],
    top: int | None,
    measure: int,
    written: Mapping[str, Any] | None,
) -> Answered:
    """The members' probabilities (or numbers), each by its weight: as a run joins them."""
    if version.model.task not in ("text-classification", *MEDIA, TABLES):
        raise NotAsked(f"{version.reference}: ask its members one by one; they say no one label.")
    said: list[tuple[float, Answered]] = []
    for reference, weight in zip(version.source["members"], version.source["weights"], strict=True):
        try:
            member = registry.resolve(project=version.model.project, reference=reference)
            said.append((float(weight), predict(version=member, inputs=inputs, measure=measure)))
        except (NotAsked, Missing) as error:
            raise NotAsked(
                f"{reference}, a member of {version.reference}: {error.detail}"
            ) from None
    first = said[0][1]
    answers = [
        _joined([(weight, one.answers[place]) for weight, one in said], first.problem, top)
        for place in range(len(inputs))
    ]
    times = [one.latency["median_ms"] for _, one in said if one.latency]
    latency = first.latency and {**first.latency, "median_ms": round(sum(times), 3)}
    milliseconds = sum(one.milliseconds for _, one in said)
    return Answered(
        version.reference, answers, first.problem, first.labels, round(milliseconds, 3), latency
    )


def _joined(said: list[tuple[float, JSON]], problem: str, top: int | None) -> JSON:
    for _, one in said:
        if "error" in one:
            return one
    total = sum(weight for weight, _ in said)
    if problem == "regression":
        mean = sum(weight * one["label"] for weight, one in said) / total
        return {"label": float(f"{mean:.6g}"), "probabilities": {}}
    sums: dict[str, float] = {}
    for weight, one in said:
        for label, probability in one["probabilities"].items():
            sums[label] = sums.get(label, 0.0) + weight / total * probability
    order = sorted(sums, key=lambda label: -sums[label])
    told = {label: float(f"{sums[label]:.6g}") for label in order[:top]}
    if problem == "multi_label":
        return {"label": [label for label in order if sums[label] > 0.5], "probabilities": told}
    return {"label": order[0], "probabilities": told}
