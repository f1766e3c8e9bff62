"""A checkpoint as people have it, a zipped Hugging Face folder, read without trusting it.

Only safetensors, JSON and plain vocabularies are kept. Pickles and code are refused by name, even
when they lie beside good weights: the person should know what they were about to share. The
weights' header is read here, so that a renamed file is told at once; loading happens later, in a
child process.
"""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.conf import settings

from distillhub.lib import archives, storage
from distillhub.lib.errors import Invalid, TooLarge

MOST_FILES = 200
MOST_JSON = 64 << 20  # bytes; the largest tokenizer.json in common use is about 17 MiB
MOST_HEADER = 100 << 20  # bytes; safetensors' own limit
WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip

KEPT = {
    "config.json", "distillhub.json", "generation_config.json", "model.safetensors.index.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "preprocessor_config.json",
}  # fmt: skip
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".joblib", ".msgpack"}
CODE = {".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".exe", ".h5", ".keras"}


def unzip(file: IO[bytes]) -> list[dict[str, Any]]:
    """Store the files of a zipped model folder: `[{"name", "sha256", "bytes"}]`, sorted by name.

    Raises Invalid (field `file`) naming the entry that is unsafe, a pickle, code or damaged, or
    what is missing; TooLarge past the upload limit. Leaves nothing behind then.
    """
    most_bytes = settings.DISTILLHUB_MAX_UPLOAD_MIB << 20
    folder = Path(tempfile.mkdtemp(dir=storage.working_folder("uploading"), prefix="model-"))
    try:
        packed = folder / "packed.zip"
        with packed.open("wb") as out:
            shutil.copyfileobj(file, out, archives.PIECE)
        if packed.stat().st_size > most_bytes:
            limit = settings.DISTILLHUB_MAX_UPLOAD_MIB
            raise TooLarge(f"The archive is larger than {limit} MiB.")
        try:
            with zipfile.ZipFile(packed) as archive:
                found = archives.entries(archive, most_files=MOST_FILES, most_bytes=most_bytes * 2)
                chosen = _choose(found)
                for name, info in chosen.items():
                    archives.unpack(archive, info, folder / "files" / name)
        except zipfile.BadZipFile:
            raise _refused("This is not a zip archive, or it is damaged.") from None
        except archives.UnsafeArchive as error:
            raise _refused(str(error)) from None
        for name in chosen:
            check(folder / "files" / name)
        return [
            {"name": name, "sha256": blob.sha256, "bytes": blob.bytes}
            for name in sorted(chosen)
            for blob in [storage.put(folder / "files" / name)]
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check(path: Path) -> None:
    """Raises Invalid when a file is not what its name says: JSON, text, or safetensors."""
    if path.suffix == ".safetensors":
        _check_weights(path)
    elif path.suffix == ".json":
        if path.stat().st_size > MOST_JSON:
            raise _refused(f"{path.name} is larger than {MOST_JSON >> 20} MiB.")
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            raise _refused(f"{path.name} is not JSON.") from None
        if _names_code(content):
            raise _refused(
                f"{path.name} asks to run code of its own (auto_map or custom_pipelines), "
                "which is never done. Export the model with a built-in architecture."
            )


def _choose(infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The entries to keep by their name inside the model folder."""
    visible = [info for info in infos if not _is_clutter(info.filename)]
    top = {info.filename.split("/")[0] for info in visible}
    nested = len(top) == 1 and all("/" in info.filename for info in visible)
    chosen: dict[str, zipfile.ZipInfo] = {}
    for info in visible:
        path = PurePosixPath(info.filename)
        if path.suffix.lower() in PICKLES:
            raise _refused(
                f"{info.filename} is a pickle, which runs code when it is read. Remove it and keep "
                "the weights as model.safetensors (save_pretrained writes that)."
            )
        if path.suffix.lower() in CODE:
            raise _refused(f"{info.filename} holds code, which is never run. Remove it.")
        inside = path.parts[1:] if nested else path.parts
        if len(inside) == 1 and _is_kept(inside[0]):
            chosen[inside[0]] = info
    if not any(name.endswith(".safetensors") for name in chosen):
        raise _refused("The archive holds no weights: model.safetensors is missing.")
    if "config.json" not in chosen:
        raise _refused("The archive holds no config.json beside the weights.")
    return chosen


def _is_kept(name: str) -> bool:
    shard = name.startswith("model-") and name.endswith(".safetensors")
    return name in KEPT or name == "model.safetensors" or shard


def _is_clutter(name: str) -> bool:
    """What file managers and git leave in archives."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def _names_code(content: Any) -> bool:
    """Whether `auto_map` or `custom_pipelines` stands anywhere in a JSON document."""
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("auto_map") or part.get("custom_pipelines"):
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False


def _check_weights(path: Path) -> None:
    """The header of safetensors: 8 bytes of length, JSON of `{name: {dtype, shape,
    data_offsets}}`, then the tensors without gaps (github.com/huggingface/safetensors, Format)."""
    damaged = f"{path.name} is not a safetensors file, or it is damaged"
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, MOST_HEADER):
            raise _refused(f"{damaged}: its header has no sensible length.")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise _refused(f"{damaged}: its header is not JSON.") from None
    if not isinstance(header, dict):
        raise _refused(f"{damaged}: its header is not an object.")
    header.pop("__metadata__", None)
    if not header:
        raise _refused(f"{path.name} holds no tensors.")
    try:
        spans = sorted(_span(tensor) for tensor in header.values())
    except (TypeError, KeyError, ValueError):
        raise _refused(f"{damaged}: a tensor is described wrongly.") from None
    end = 0
    for start, stop in spans:
        if start != end:
            raise _refused(f"{damaged}: its tensors overlap or leave gaps.")
        end = stop
    if end != size - 8 - length:
        raise _refused(f"{damaged}: it has {size - 8 - length} bytes of tensors, not {end}.")


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    start, stop = tensor["data_offsets"]
    count = WIDTHS[tensor["dtype"]]
    for extent in tensor["shape"]:
        if not isinstance(extent, int) or extent < 0:
            raise ValueError
        count *= extent
    if not (isinstance(start, int) and isinstance(stop, int)) or stop - start != count:
        raise ValueError
    return start, stop


def _refused(sentence: str) -> Invalid:
    return Invalid(sentence, fields={"file": [sentence]})
