"""Archives of files that could be uploaded themselves become the files of one upload."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.ingest import ingestion
from projects.models import DatasetVersion, Project
from projects.services import datasets, hub_datasets
from tests.engine.hub_server import Hub
from tests.projects.test_dataset_versions import TABLE, file_of
from tests.projects.test_ingest_images import archive, picture

TEST = b"text,label\n" + b"".join(
    b"another %d,%s\n" % (n, b"hs"[n % 2 : n % 2 + 1]) for n in range(9)
)
NOISE = (("__MACOSX/train.csv", b"x"), ("README.md", b"# Words"), ("LICENSE.txt", b"MIT"))


def tar(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(*entries: tuple[str, bytes]) -> bytes:
    return archive(*entries).getvalue()


def uploaded(
    project: Project, content: bytes, name: str = "words", file: str = "a.zip"
) -> DatasetVersion:
    upload = file_of(content, file)
    version = datasets.upload(
        project=project, file=upload, name=name, task="", by=project.created_by
    )
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert version.status == "ready", version.error
    return version


@pytest.mark.parametrize("pack", [zipped, tar])
def test_tables_in_an_archive_are_its_files_and_their_names_say_the_split(
    project: Project, pack: Any
) -> None:
    version = uploaded(project, pack(("in/train.csv", TABLE), ("in/test.csv", TEST), *NOISE))
    assert version.source_name == "a.zip"
    files = [(one["name"], one["split"]) for one in version.reading["files"]]
    assert files == [("in/train.csv", "train"), ("in/test.csv", "test")]
    assert {name: one["rows"] for name, one in version.splits.items()} == {
        "train": 90, "validation": 10, "test": 9,
    }  # fmt: skip
    assert list(storage.working_folder("unpacking").iterdir()) == []


def test_one_table_in_an_archive_is_as_if_it_were_not_packed(project: Project) -> None:
    plain = uploaded(project, TABLE, "plain", "words.csv")
    assert uploaded(project, zipped(("words.csv", TABLE))).fingerprint == plain.fingerprint


def test_archives_within_an_archive_are_opened(project: Project) -> None:
    pictures = [zipped(*((f"{c}/{n}.png", picture(color=n)) for n in range(9) for c in "ab"))] * 2
    pair = zipped(("train.zip", pictures[0]), ("test.zip", pictures[1]))
    version = uploaded(project, pair)
    assert (version.format, version.labels) == ("image_folder", ["a", "b"])
    assert version.splits["test"]["rows"] == 18
    deep = zipped(("outer.zip", zipped(("inner.csv", TABLE))))
    assert uploaded(project, deep, name="deep").rows == 100


def test_archives_of_pictures_stay_what_they_are(project: Project) -> None:
    content = zipped(("a/1.png", picture()), ("b/2.png", picture(color=9)), ("notes.csv", TABLE))
    assert uploaded(project, content).format == "image_folder"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            zipped(("a.zip", zipped(("b.zip", zipped(("c.zip", zipped(("d.csv", TABLE)))))))),
            "c.zip",
        ),
        (zipped(*((f"{n}.csv", TABLE) for n in range(51))), "51 files with rows; at most 50"),
        (zipped(("../a.csv", TABLE)), "a.csv"),
        (zipped(("a.csv", b"")), "a.csv in a.zip: The file is empty."),
        (zipped(("a.bin", b"\0\1")), "without a single picture or sound"),
    ],
)
def test_what_cannot_be_unpacked_is_said(project: Project, content: bytes, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        uploaded(project, content)


def test_an_archive_that_unpacks_to_too_much_is_refused(
    project: Project, settings: LazySettings
) -> None:
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 1
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("large.csv", b"text,label\n" + b"a,b\n" * (5 << 18))
    with pytest.raises(Invalid, match="unpacks to more than 4 MiB"):
        uploaded(project, out.getvalue())


def test_so_it_is_with_archives_of_the_hub(
    project: Project, tmp_path: Path, settings: LazySettings
) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "data.zip").write_bytes(zipped(("train.csv", TABLE), ("test.csv", TEST)))
    with Hub({}, {"some/words": folder}) as server:
        settings.HF_ENDPOINT = server.address
        version = hub_datasets.take(
            project=project, hub={"id": "some/words"}, name="words",
            task="text-classification", by=project.created_by,
        )  # fmt: skip
        ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.error) == ("ready", None)
    assert version.splits["test"]["rows"] == 9
