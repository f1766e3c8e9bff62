"""Zips of pictures in class folders, and what strangers put into zips."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from projects.ingest import central_directory, class_folders, image_folder, registry
from projects.ingest.formats import BadFile, LeftOut, Plan, Row

IMAGES = registry.get("image_folder")


def picture(
    kind: str = "PNG", mode: str = "L", size: tuple[int, int] = (8, 8), **save: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, save.pop("color", 7)).save(out, kind, **save)
    return out.getvalue()


def archive(*entries: tuple[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in entries:
            file.writestr(name, content)
    return out


def read(file: io.BytesIO) -> list[Row | LeftOut]:
    return list(IMAGES.rows(file, "x.zip", {}, Plan()))


def placed(file: io.BytesIO) -> list[tuple[str | None, str | None]]:
    return [(row.split, row.label) for row in read(file) if isinstance(row, Row)]


def refused(file: io.BytesIO, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        IMAGES.sniff(file, "x.zip")


PIXEL = picture()


def test_class_folders_are_labels() -> None:
    assert placed(archive(("cat/1.png", PIXEL), ("dog/2.png", PIXEL))) == [
        (None, "cat"),
        (None, "dog"),
    ]


def test_split_folders_and_a_wrapping_folder_are_seen_through() -> None:
    file = archive(
        ("all/Train/cat/1.png", PIXEL),
        ("all/test/cat/2.png", PIXEL),
        ("all/val/dog/deep/3.png", PIXEL),
    )
    assert placed(file) == [("train", "cat"), ("test", "cat"), ("validation", "dog")]


def test_a_class_called_test_is_a_class_where_others_are_no_splits() -> None:
    assert placed(archive(("test/1.png", PIXEL), ("cat/2.png", PIXEL))) == [
        (None, "test"),
        (None, "cat"),
    ]


def test_hidden_files_do_not_count_and_others_are_listed() -> None:
    file = archive(
        ("cat/1.png", PIXEL),
        ("__MACOSX/cat/._1.png", b"x"),
        ("cat/.DS_Store", b"x"),
        ("notes.txt", b"x"),
    )
    found = read(file)
    assert [one.code for one in found if isinstance(one, LeftOut)] == ["not_an_image"]
    assert sum(isinstance(one, Row) for one in found) == 1


def test_a_picture_outside_of_class_folders_has_no_label() -> None:
    assert placed(archive(("cat/1.png", PIXEL), ("2.png", PIXEL))) == [(None, "cat"), (None, None)]


def test_a_picture_right_inside_a_split_has_no_label() -> None:
    file = archive(("train/cat/1.png", PIXEL), ("train/2.png", PIXEL), ("test/dog/3.png", PIXEL))
    assert placed(file) == [("train", "cat"), ("train", None), ("test", "dog")]


def test_folders_called_like_splits_are_classes_where_nothing_is_inside_them() -> None:
    file = archive(("train/1.png", PIXEL), ("test/2.png", PIXEL))
    assert placed(file) == [(None, "train"), (None, "test")]


def test_pictures_without_any_class_folder_wait_for_a_teacher() -> None:
    file = archive(("1.png", PIXEL), ("2.png", PIXEL))
    look = IMAGES.look(file, "a.zip", {})
    assert look.labels == {}
    assert "a teacher labels them later" in look.problems[0]["detail"]
    assert placed(file) == [(None, None), (None, None)]


def test_a_broken_picture_is_left_out_with_its_name() -> None:
    torn = picture(size=(64, 64), mode="RGB", color=(1, 2, 3))[:-30]
    found = read(archive(("cat/1.png", PIXEL), ("cat/2.png", torn), ("cat/3.png", b"no picture")))
    assert [one.source for one in found if isinstance(one, LeftOut)] == ["cat/2.png", "cat/3.png"]


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP", "TIFF"])
def test_other_kinds_are_stored_as_png(kind: str) -> None:
    content = picture(kind, "RGB", color=(1, 2, 3))
    (row,) = read(archive((f"cat/1.{kind.lower()}", content)))
    assert isinstance(row, Row)
    assert isinstance(row.input, bytes)
    assert row.input.startswith(b"\x89PNG")
    assert row.remarks == ("image_reencoded",)


def test_png_and_jpeg_are_kept_to_the_byte() -> None:
    for kind in ("PNG", "JPEG"):
        content = picture(kind, "RGB", color=(1, 2, 3))
        (row,) = read(archive((f"cat/1.{kind.lower()}", content)))
        assert isinstance(row, Row)
        assert row.input == content


def test_sixteen_bits_become_eight() -> None:
    deep = picture(mode="I;16", color=65535)
    (row,) = read(archive(("cat/1.png", deep)))
    assert isinstance(row, Row)
    assert isinstance(row.input, bytes)
    with Image.open(io.BytesIO(row.input)) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("L", 255)


def test_a_turned_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = picture("JPEG", "RGB", (8, 4), color=(1, 2, 3), exif=exif)
    (row,) = read(archive(("cat/1.jpg", content)))
    assert isinstance(row, Row)
    assert row.measures == (4, 8)


def test_equal_pixels_in_different_files_are_the_same_input() -> None:
    plain, packed = picture(compress_level=0), picture(compress_level=9)
    assert plain != packed
    one, other = read(archive(("a/1.png", plain), ("a/2.png", packed)))
    assert isinstance(one, Row)
    assert isinstance(other, Row)
    assert one.key == other.key


@pytest.mark.parametrize("name", ["../../etc/cron.d/x.png", "/etc/x.png", "cat\\..\\x.png"])
def test_names_that_climb_are_refused(name: str) -> None:
    file = archive(("cat/1.png", PIXEL), ("cat/2.png", PIXEL))
    content = file.getvalue().replace(b"cat/2.png", name.encode()[:9].ljust(9, b"g"))
    climbing = archive((name, PIXEL), ("cat/1.png", PIXEL)) if "\\" not in name else None
    refused(climbing or io.BytesIO(content), "unsafe name")


def test_links_are_refused() -> None:
    out = archive(("cat/1.png", PIXEL))
    with zipfile.ZipFile(out, "a") as file:
        link = zipfile.ZipInfo("cat/2.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    refused(out, "link")


def test_overlapping_entries_are_refused() -> None:
    content = bytearray(archive(("cat/1.png", PIXEL), ("cat/2.png", PIXEL)).getvalue())
    second = content.rfind(b"PK\x01\x02")
    content[second + 42 : second + 46] = struct.pack("<L", 0)
    refused(io.BytesIO(bytes(content)), "overlaps")


def test_a_bomb_is_refused_by_what_it_would_unpack_to() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/1.png", PIXEL)
        for number in range(2, 5):
            file.writestr(f"cat/{number}.png", b"\0" * (1 << 20))
    content = bytearray(out.getvalue())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:  # the sizes say more than is there
        content[at + 24 : at + 28] = struct.pack("<L", 0xFFFFFF00)
    refused(io.BytesIO(bytes(content)), "unpack to")


def test_too_many_members_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_folders, "MOST_FILES", 10)
    refused(archive(*((f"cat/{n}.png", b"") for n in range(30))), "more than 20 entries")


def test_the_count_of_members_does_not_trust_what_the_archive_says() -> None:
    content = bytearray(archive(*((f"cat/{n}.png", b"") for n in range(30))).getvalue())
    end = content.rfind(b"PK\x05\x06")
    content[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    with pytest.raises(Exception, match="more than 20"):
        central_directory.refuse_more_than(20, io.BytesIO(bytes(content)))


def test_a_huge_picture_is_refused_without_decoding_it() -> None:
    content = bytearray(picture(size=(1, 1)))
    content[16:24] = struct.pack(">LL", 60_000, 60_000)
    content[29:33] = struct.pack(">L", __import__("zlib").crc32(content[12:29]))
    with pytest.raises(BadFile, match="million pixels"):
        read(archive(("cat/1.png", bytes(content))))


@pytest.mark.parametrize("cut", [10, 100])
def test_a_torn_archive_is_refused(cut: int) -> None:
    content = archive(("cat/1.png", PIXEL), ("dog/1.png", PIXEL)).getvalue()
    refused(io.BytesIO(content[:-cut]), "cannot be opened")


def test_noise_after_the_signature_is_refused_with_a_sentence() -> None:
    for seed in range(40):
        noise = bytes((seed * 31 + i * i) % 256 for i in range(500))
        with pytest.raises(BadFile):
            IMAGES.sniff(io.BytesIO(b"PK\x03\x04" + noise), "x.zip")


def test_a_thumbnail_holds_pixels_and_nothing_else() -> None:
    content = picture() + b"<script>alert(1)</script>"
    small = image_folder.thumbnail(content, 4)
    assert b"script" not in small
    with Image.open(io.BytesIO(small)) as image:
        assert image.size == (4, 4)


def test_fashion_mnist_is_understood_without_help(shared_data: Path) -> None:
    path = shared_data / "fashion_mnist" / "fashion_png_classfolders.zip"
    with path.open("rb") as file:
        assert IMAGES.sniff(file, path.name) == {}
        look = IMAGES.look(file, path.name, {})
    assert (look.seen, len(look.labels), look.splits) == (1500, 10, {"test": 500, "train": 1000})
    assert len(look.pictures) == 12


def test_magnetic_tiles_are_understood_without_help(shared_data: Path) -> None:
    path = shared_data / "magnetic_tile" / "magnetic_tile_96x96_DERIVED.zip"
    with path.open("rb") as file:
        look = IMAGES.look(file, path.name, {})
    assert (look.seen, len(look.labels)) == (1344, 6)
