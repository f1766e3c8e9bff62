"""Archives other than zips of class folders: tar, tables of files, idx."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import pytest

from projects.ingest import registry
from projects.ingest.compressed import opened
from projects.ingest.formats import BadFile, Format, LeftOut, Plan, Row
from tests.projects.test_ingest_audio import sound
from tests.projects.test_ingest_images import archive, picture

PIXEL = picture()


def tar(*entries: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "cat/1.png"
            file.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    out.seek(0)
    return out


def format_of(file: io.BytesIO, name: str = "x.tar") -> Format:
    return registry.recognise(file, name)


def rows(file: io.BytesIO, name: str = "x.tar") -> list[Row | LeftOut]:
    form = format_of(file, name)
    inside = opened(file)
    return list(form.rows(inside, name, form.sniff(inside, name), Plan()))


def placed(found: list[Row | LeftOut]) -> list[tuple[str | None, str | None]]:
    return [(row.split, row.label) for row in found if isinstance(row, Row)]


FOLDERS = [
    ("all/train/cat/1.png", PIXEL),
    ("all/train/dog/2.png", PIXEL),
    ("all/test/cat/3.png", picture(color=9)),
]


@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_is_read_as_a_zip_of_the_same_files(packed: bool) -> None:
    file = tar(*FOLDERS)
    if packed:
        file = io.BytesIO(gzip.compress(file.getvalue()))
    found, same = rows(file, "x.tar.gz" if packed else "x.tar"), rows(archive(*FOLDERS), "x.zip")
    assert found == same
    assert placed(found) == [("train", "cat"), ("train", "dog"), ("test", "cat")]


def test_a_tar_of_sounds_is_one_of_sounds() -> None:
    assert format_of(tar(("yes/1.wav", sound()), ("no/2.wav", sound()))).key == "audio_folder"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("../evil.png", tarfile.REGTYPE, "unsafe name"),
        ("/etc/evil.png", tarfile.REGTYPE, "unsafe name"),
        ("cat/2.png", tarfile.SYMTYPE, "link or device"),
        ("cat/2.png", tarfile.LNKTYPE, "link or device"),
        ("cat/2.png", tarfile.CHRTYPE, "link or device"),
    ],
)
def test_a_tar_that_reaches_out_is_refused(name: str, kind: bytes, words: str) -> None:
    form = registry.get("image_folder")
    with pytest.raises(BadFile, match=words):
        form.sniff(tar((name, PIXEL), kind=kind), "x.tar")


def test_a_torn_tar_and_one_with_a_file_twice_are_refused() -> None:
    form = registry.get("image_folder")
    whole = tar(*[(f"cat/{n}.png", PIXEL * 100) for n in range(9)]).getvalue()
    with pytest.raises(BadFile, match="damaged"):
        form.sniff(io.BytesIO(whole[:9000]), "x.tar")
    with pytest.raises(BadFile, match="twice"):
        form.sniff(tar(("cat/1.png", PIXEL), ("cat/1.png", PIXEL)), "x.tar")


def test_a_table_says_what_the_files_beside_it_are() -> None:
    table = b"file_name,label,split,taken\n1.png,cat,train,x\nsub/2.png,dog,test,y\n"
    found = rows(archive(("metadata.csv", table), ("1.png", PIXEL), ("sub/2.png", PIXEL)), "x.zip")
    assert placed(found) == [("train", "cat"), ("test", "dog")]
    lines = b'{"file_name": "1.png", "label": 3}\n{"file_name": "2.png"}\n'
    packed = archive(
        ("d/train/metadata.jsonl", lines), ("d/train/1.png", PIXEL), ("d/train/2.png", PIXEL)
    )
    assert placed(rows(packed, "x.zip")) == [("train", "3"), ("train", None)]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"file_name,label\nnone.png,cat\n", "line 2, names 'none.png'"),
        (b"name,label\n1.png,cat\n", "line 2, names no file"),
        (b"file_name,label,split\n1.png,cat,later\n", "line 2, says split 'later'"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_the_line(table: bytes, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        rows(archive(("metadata.csv", table), ("1.png", PIXEL)), "x.zip")


def idx(*sizes: int, values: bytes) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + values


IMAGES, LABELS = idx(3, 2, 2, values=bytes(range(12))), idx(3, values=b"\x07\x00\x07")


def test_idx_files_are_pictures_with_classes() -> None:
    file = archive(
        ("raw/train-images-idx3-ubyte.gz", gzip.compress(IMAGES)),
        ("raw/train-labels-idx1-ubyte.gz", gzip.compress(LABELS)),
        ("raw/t10k-images-idx3-ubyte", idx(1, 2, 2, values=b"abcd")),
        ("raw/t10k-labels-idx1-ubyte", idx(1, values=b"\x00")),
    )
    form = format_of(file, "mnist.zip")
    assert form.key == "idx_archive"
    look = form.look(file, "mnist.zip", {})
    assert look.labels == {"7": 2, "0": 2}
    assert look.splits == {"test": 1, "train": 3}
    found = rows(file, "mnist.zip")
    assert placed(found) == [("test", "0"), ("train", "7"), ("train", "0"), ("train", "7")]
    first = found[1]
    assert isinstance(first, Row)
    again = rows(archive(("7/1.png", first.input), ("0/2.png", PIXEL)), "x.zip")[0]  # type: ignore[arg-type]
    assert isinstance(again, Row)
    assert (again.key, again.kind) == (first.key, "L")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES, LABELS[:-1], "ends earlier"),
        (IMAGES[:-1], LABELS, "ends earlier"),
        (IMAGES, idx(2, values=b"ab"), "2 labels, and .* 3 pictures"),
        (idx(3, 0, 2, values=b""), LABELS, "2 x 0 pixels"),
        (b"no idx at all", LABELS, "no idx file of pictures"),
        (idx(1 << 31, 2, 2, values=b""), LABELS, "tells of"),
    ],
)
def test_idx_files_that_do_not_fit_are_refused(images: bytes, labels: bytes, words: str) -> None:
    file = archive(("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels))
    form = registry.get("idx_archive")
    with pytest.raises(BadFile, match=words):
        list(form.rows(file, "x.zip", {}, Plan()))


def test_fashion_mnist_as_it_is_published(shared_data: Path) -> None:
    folder = shared_data / "fashion_mnist"
    names = sorted(folder.glob("t10k-*-ubyte.gz"))
    found = rows(archive(*[(one.name, one.read_bytes()) for one in names]), "fashion.zip")
    assert len(found) == 10_000
    assert {split for split, _ in placed(found)} == {"test"}
    assert {label for _, label in placed(found)} == set("0123456789")
