"""Zips of model folders: what is kept, and every trap that must be named and refused."""

import io
import json
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from safetensors.numpy import save

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from training.services import model_folders

WEIGHTS = save({"layer.weight": np.zeros((4, 3), dtype=np.float32)})
CONFIG = json.dumps({"model_type": "bert", "hidden_size": 8}).encode()
GOOD = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "tokenizer.json": b"{}"}


def packed(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    made.seek(0)
    return made


def sentence_of(file: io.BytesIO) -> str:
    with pytest.raises(Invalid) as caught:
        model_folders.unzip(file)
    assert list(caught.value.fields) == ["file"]
    assert "/tmp" not in caught.value.detail
    assert not list(storage.working_folder("uploading").iterdir())
    return caught.value.detail


def test_a_model_folder_is_kept_file_by_file() -> None:
    files = model_folders.unzip(packed(GOOD))
    assert [file["name"] for file in files] == sorted(GOOD)
    with storage.open_blob(files[1]["sha256"]) as stored:
        assert stored.read() == WEIGHTS
    assert not list(storage.working_folder("uploading").iterdir())


def test_a_folder_around_the_files_and_clutter_are_no_matter() -> None:
    nested = {f"my-model/{name}": content for name, content in GOOD.items()}
    clutter = {"__MACOSX/my-model/._config.json": b"x", "my-model/.gitattributes": b"x"}
    extra = {"my-model/README.md": b"# A model", "my-model/runs/events.txt": b"x"}
    files = model_folders.unzip(packed(nested | clutter | extra))
    assert [file["name"] for file in files] == sorted(GOOD)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ({"pytorch_model.bin": b"\x80\x04"}, "pytorch_model.bin is a pickle"),
        ({"optimizer.PT": b"\x80\x04"}, "optimizer.PT is a pickle"),
        ({"weights.npy": b"\x93NUMPY"}, "weights.npy is a pickle"),
        ({"modeling_mine.py": b"import os"}, "modeling_mine.py holds code"),
        ({"../../etc/cron.d/x": b"x"}, "unsafe name"),
        ({"/etc/passwd": b"x"}, "unsafe name"),
        ({"C:/windows/x": b"x"}, "unsafe name"),
        ({"model.safetensors": b"\x80\x04\x95pickle inside"}, "not a safetensors file"),
        ({"model.safetensors": WEIGHTS[:-4]}, "bytes of tensors"),
        ({"model.safetensors": WEIGHTS + b"more"}, "bytes of tensors"),
        ({"config.json": b'{"auto_map": {"AutoModel": "mine.Model"}}'}, "run code of its own"),
        ({"config.json": b'{"sub": [{"auto_map": {"A": "m.M"}}]}'}, "run code of its own"),
        ({"config.json": b"not json"}, "config.json is not JSON"),
        ({"config.json": b"[" * 100_000}, "config.json is not JSON"),
    ],
)
def test_what_must_not_be_kept_is_named(added: dict[str, bytes], said: str) -> None:
    assert said in sentence_of(packed(GOOD | added))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_what_is_missing_is_named(missing: str) -> None:
    files = {name: content for name, content in GOOD.items() if name != missing}
    assert missing in sentence_of(packed(files))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x04pickle"])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    assert "not a zip" in sentence_of(io.BytesIO(content))


def test_a_link_is_refused() -> None:
    made = packed(GOOD)
    with zipfile.ZipFile(made, "a") as archive:
        link = zipfile.ZipInfo("vocab.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    made.seek(0)
    assert "link or device" in sentence_of(made)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused() -> None:
    made = packed(GOOD)
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("CONFIG.json", CONFIG)
    made.seek(0)
    assert "twice" in sentence_of(made)


def test_entries_that_overlap_are_refused() -> None:
    body = bytearray(packed(GOOD, zipfile.ZIP_STORED).getvalue())
    # Let the central directory's second entry point at the first one's bytes.
    first = body.find(b"PK\x01\x02")
    second = body.find(b"PK\x01\x02", first + 4)
    body[second + 42 : second + 46] = struct.pack("<I", 0)
    assert "overlaps" in sentence_of(io.BytesIO(bytes(body)))


def test_an_archive_that_unpacks_to_too_much_is_refused(settings: LazySettings) -> None:
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 1
    bomb = packed(GOOD | {"vocab.txt": b"\0" * (8 << 20)})
    assert len(bomb.getvalue()) < 1 << 20
    assert "would unpack to" in sentence_of(bomb)


def test_more_files_than_any_model_has_are_refused() -> None:
    many = {f"part-{index}.txt": b"" for index in range(300)}
    assert "at most 200" in sentence_of(packed(GOOD | many))


def headed(header: Any, tensors: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (headed([]), "not an object"),
        (headed({}), "no tensors"),
        (headed({"a": {"dtype": "F32", "shape": [2]}}), "described wrongly"),
        (headed({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}), "described"),
        (headed({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}), "described"),
        (headed({"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}), "described"),
        (headed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}), "gaps"),
        (struct.pack("<Q", 1 << 60) + b"{}", "no sensible length"),
        (struct.pack("<Q", 2) + b"{", "no sensible length"),
        (struct.pack("<Q", 2) + b"{x}", "not JSON"),
    ],
)
def test_malformed_weights_are_told_before_they_are_loaded(
    tmp_path: Path, weights: bytes, said: str
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(weights)
    with pytest.raises(Invalid, match=said):
        model_folders.check(file)
