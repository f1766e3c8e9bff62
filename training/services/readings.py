"""How models read their inputs, as far as their small files and their inspection tell, and what of
it does not go together. Read once: stored files never change."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from distillhub.lib import storage
from distillhub.lib.later import Later
from projects.models import DatasetVersion, ModelVersion
from training.engine import conversations

pq = Later("pyarrow.parquet")

LOOKED_AT = 2000  # rows of a dataset
SOUNDS = {
    **dict.fromkeys(("wav2vec2", "hubert", "sew", "unispeech", "wavlm"), "waveforms"),
    "whisper": "Whisper's spectrograms",
    "audio-spectrogram-transformer": "Kaldi's spectrograms",
    "spectrogram_convnet": "mel spectrograms",
}
#: Whose layers are maps, and whose are one place for each patch.
MAPS = ("small_convnet", "resnet", "regnet", "convnext", "convnextv2")
PATCHES = ("vit", "beit", "dinov2")


class Network(Protocol):
    """What is known of a model that is there, or will be (references.Network)."""

    @property
    def version(self) -> ModelVersion | None: ...
    @property
    def reference(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def has_weights(self) -> bool: ...
    @property
    def is_recorded(self) -> bool: ...


# -- chats ----------------------------------------------------------------------------------------


def chats(dataset: DatasetVersion) -> Mapping[str, int]:
    """Of each kind of chat, how many of the dataset's first rows are of it; empty where its rows
    are no chats, or cannot be read now."""
    try:
        return _chats(dataset.file_sha256)
    except (storage.Damaged, storage.Away, OSError, ValueError):
        return {}


@lru_cache(maxsize=256)
def _chats(sha256: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    with storage.open_blob(sha256) as stream:
        file = pq.ParquetFile(stream)
        if "prompt" in file.schema_arrow.names or not file.metadata.num_rows:
            return found
        piece = next(file.iter_batches(LOOKED_AT, columns=["text"]))
    for text in piece.column("text").to_pylist():
        if not (text or "").strip():
            continue
        chat = conversations.messages(text)
        if chat is None:
            break
        for kind in conversations.kinds(chat):
            found[kind] = found.get(kind, 0) + 1
    return found


def refused_chats(
    dataset: DatasetVersion, student: Network, teachers: Sequence[Network]
) -> Iterator[tuple[str, str]]:
    """Where a chat template refuses, or rewrites, chats that the dataset has: the field, and a
    sentence."""
    there = chats(dataset) if _readers(student, teachers) else {}
    for at, network in _readers(student, teachers):
        for kind, reason in (_known(network).get("problems") or {}).items():
            if kind in there:
                yield (
                    at,
                    (
                        f"{reason.rstrip('.')}. {network.reference} fails where "
                        f"{conversations.WORDS[kind]}, as in {there[kind]:,} of the first "
                        f"{LOOKED_AT:,} rows of {dataset.reference}. Take a model whose template "
                        "takes them, or upload a version without such rows."
                    ),
                )
                break  # the others have the same remedy


def chats_without_template(
    dataset: DatasetVersion, student: Network, teachers: Sequence[Network]
) -> Iterator[str]:
    """A sentence for each model that writes chats in words of ours."""
    there = chats(dataset) if _readers(student, teachers) else {}
    for _, network in _readers(student, teachers):
        known = _known(network)
        if there and known and not known["template"] and not known["speakers"]:
            yield (
                f"{dataset.reference} has chats, and {network.reference} has no chat template: who "
                "speaks is written as a line such as “user:”. If it was trained on another form, "
                "take its chat model, or add chat_template.jinja to its folder and upload it again."
            )


def _readers(student: Network, teachers: Sequence[Network]) -> list[tuple[str, Network]]:
    """Those with a tokenizer of their own, by field; a student without weights takes over its
    teacher's."""
    every = [("student", student), *((f"teachers.{at}", one) for at, one in enumerate(teachers))]
    return [(at, one) for at, one in every if one.has_weights and _known(one)]


def _known(network: Network) -> Mapping[str, Any]:
    """What inspection found of its template; nothing of models inspected before it looked."""
    tokenizer = network.version.tokenizer if network.version is not None else None
    return (tokenizer or {}).get("chats") or {}


# -- pictures and sounds --------------------------------------------------------------------------


def apart(student: Network, teacher: Network) -> str:
    """Why their inputs are not the same, so that nothing can be compared place by place; nothing
    where they are, or nobody knows."""
    one, two = SOUNDS.get(student.architecture), SOUNDS.get(teacher.architecture)
    if one and two and one != two:
        return (
            f"{student.reference} hears {one} and {teacher.reference} {two}. Take a student that "
            "hears as its teacher does, or terms that compare answers."
        )
    if not student.has_weights:
        return ""  # it takes over its teacher's way
    mine, theirs = inputs(student.version), inputs(teacher.version)
    if all(mine[name] == theirs[name] for name in mine.keys() & theirs.keys()):
        return ""
    return (
        f"{student.reference} reads {_described(mine)} and {teacher.reference} "
        f"{_described(theirs)}. Begin with a student without weights, which takes over its "
        "teacher's way, or with one made from this teacher."
    )


def places_apart(student: Network, teacher: Network) -> str:
    """Why their layers have not the same places although both see the same picture; nothing where
    they have, or nobody knows."""
    for one, other in ((student, teacher), (teacher, student)):
        if one.architecture in MAPS and other.architecture in PATCHES:
            return (
                f"{one.reference} has maps and {other.reference} one place for each patch, so "
                "their layers cannot be compared place by place."
            )
    sizes = [_patch(one) for one in (student, teacher)]
    if all(sizes) and sizes[0] != sizes[1]:
        return (
            f"{student.reference} cuts pictures into patches of {sizes[0]} pixels and "
            f"{teacher.reference} of {sizes[1]}, so their layers have other places."
        )
    return ""


def _patch(network: Network) -> int:
    """The side of its patches; 0 where it has none, or nobody knows."""
    known = network.version.config if network.version is not None else {}
    size = known.get("patch_size") if network.architecture in PATCHES else 0
    return size if isinstance(size, int) else 0


def inputs(version: ModelVersion | None) -> Mapping[str, Any]:
    """The size of the pictures, or the kind of sounds, that a version with weights reads; empty
    where its files do not tell."""
    if version is None:
        return {}
    own = _file(version, "distillhub.json").get("preprocessing")
    if isinstance(own, Mapping):
        names = ("height", "width", "channels", "rate", "features", "samples", "mels", "hop")
        return {name: own[name] for name in names if name in own}
    return _of_checkpoint(version)


def _of_checkpoint(version: ModelVersion) -> Mapping[str, Any]:
    """As the engine reads a folder of transformers (teachers/folder.py)."""
    said, config = _file(version, "preprocessor_config.json"), _file(version, "config.json")
    if version.model.task == "audio-classification":
        return {"rate": said["sampling_rate"]} if "sampling_rate" in said else {}
    if version.model.task != "image-classification" or not config:
        return {}
    size = said.get("size") or config.get("image_size") or 224
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge") or 224
    return {"height": size, "width": size, "channels": config.get("num_channels") or 3}


def _file(version: ModelVersion, name: str) -> Mapping[str, Any]:
    """A small JSON file of a version; empty where it has none, or it cannot be read now."""
    for file in version.files:
        if file["name"] == name:
            try:
                return _json(file["sha256"])
            except (storage.Damaged, storage.Away, OSError, ValueError):
                return {}
    return {}


@lru_cache(maxsize=1024)
def _json(sha256: str) -> Mapping[str, Any]:
    with storage.open_blob(sha256) as stream:
        said = json.load(stream)
    return said if isinstance(said, Mapping) else {}


def _described(read: Mapping[str, Any]) -> str:
    if "height" in read:
        colours = "grey" if read.get("channels") == 1 else "in colour"
        return f"pictures of {read['height']} by {read['width']} pixels, {colours}"
    if "samples" in read:
        seconds = read["samples"] / max(1, read["rate"])
        return f"{read.get('features')} of {seconds:.3g} s at {read['rate']:,} Hz"
    return f"sounds at {read.get('rate'):,} Hz"
