"""Pictures and sounds in Parquet, as `datasets` and the hub store them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from django.conf import LazySettings
from django.urls import reverse

from projects.ingest import ingestion, registry
from projects.models import DatasetVersion, Project, StagedUpload, User
from projects.services import datasets, hub_datasets
from tests.conftest import signed_in
from tests.engine.hub_server import Hub
from tests.projects.test_dataset_versions import error_of, file_of, issues_of, table_of
from tests.projects.test_ingest_images import picture

ROWS = 24


def sound(n: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.sin(np.arange(800) * (n + 1) / 50), 8000, format="WAV")
    return out.getvalue()


def parquet(
    media: list[Any], *, name: str = "image", told: bool = True, **more: list[Any]
) -> bytes:
    """A table with a column of media and one of numbered classes, whose names the schema has."""
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    values = [one if one is None else {"bytes": one, "path": None} for one in media]
    columns = {name: pa.array(values, kind), "label": pa.array([n % 2 for n in range(len(media))])}
    table = pa.table(columns | {key: pa.array(value) for key, value in more.items()})
    if told:
        features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
        said = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=10)
    return out.getvalue()


PICTURES = [picture(color=n) for n in range(ROWS)]


def uploaded(project: Project, content: bytes, **more: Any) -> DatasetVersion:
    asked: dict[str, Any] = {"name": "media", "task": "", "by": project.created_by} | more
    version = datasets.upload(project=project, file=file_of(content, "a.parquet"), **asked)
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    return version


def test_pictures_in_a_column_become_a_version(project: Project) -> None:
    version = uploaded(project, parquet(PICTURES, note=[f"n{n}" for n in range(ROWS)]))
    assert (version.status, version.error) == ("ready", None)
    assert (version.format, version.dataset.task) == ("parquet_pictures", "image-classification")
    assert (version.labels, version.rows) == (["cat", "dog"], ROWS)
    table = table_of(version)
    assert table.schema.names == ["row_id", "split", "label", "image", "source", "note"]
    assert table["image"].to_pylist() == PICTURES
    assert table["note"].to_pylist()[:2] == ["n0", "n1"]
    assert table["source"].to_pylist()[:2] == ["1", "2"]


def test_sounds_in_a_column_become_a_version(project: Project) -> None:
    version = uploaded(project, parquet([sound(n) for n in range(ROWS)], name="audio"))
    assert (version.status, version.error) == ("ready", None)
    assert (version.format, version.labels) == ("parquet_sounds", ["cat", "dog"])
    assert table_of(version)["seconds"].to_pylist()[0] == pytest.approx(0.1)


def test_what_is_missing_or_broken_is_left_out_and_listed(project: Project) -> None:
    media = [*PICTURES[:-2], None, PICTURES[0][:40]]
    version = uploaded(project, parquet(media))
    assert version.rows == ROWS - 2
    found = issues_of(version)
    assert (found["empty_input"], found["unreadable_image"]) == (1, 1)


def test_a_picture_larger_than_any_refuses_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projects.ingest.image_folder.MOST_PIXELS", 60)
    version = uploaded(project, parquet(PICTURES))
    assert error_of(version)["code"] == "image_too_large"


def test_columns_say_split_group_and_label(project: Project) -> None:
    parts = ["train"] * 12 + ["validation"] * 6 + ["test"] * 6
    content = parquet(
        PICTURES, part=parts, kind=["a", "b", "c"] * 8, who=[str(n) for n in range(24)]
    )
    asked = {"image": "image", "label": "kind", "split": "part", "group": "who"}
    version = uploaded(project, content, columns=asked)
    assert {name: one["rows"] for name, one in version.splits.items()} == {
        "train": 12, "validation": 6, "test": 6,
    }  # fmt: skip
    assert (version.labels, version.column_of("group")) == (["a", "b", "c"], "who")
    bare = uploaded(project, content, name="bare", columns=asked | {"label": None})
    assert (bare.status, bare.labels) == ("ready", [])


def test_texts_with_pictures_beside_are_texts_unless_pictures_are_asked_for(
    project: Project,
) -> None:
    texts = [f"a long description of the picture number {n}" for n in range(ROWS)]
    content = parquet(PICTURES, text=texts)
    assert registry.recognise(io.BytesIO(content), "a.parquet").key == "parquet"
    version = uploaded(project, content, task="image-classification")
    assert (version.format, version.status) == ("parquet_pictures", "ready")


@pytest.mark.parametrize("content", [b"\x00\x01none", b"x"])
def test_other_bytes_are_no_pictures(content: bytes) -> None:
    found = registry.recognise(io.BytesIO(parquet([content] * 4)), "a.parquet")
    assert found.key == "parquet"


def test_the_mapping_page_shows_the_pictures(project: Project, erin: User) -> None:
    client = signed_in(erin)
    client.post("/p/intents/datasets/new/", {"file": file_of(parquet(PICTURES), "p.parquet")})
    upload = StagedUpload.objects.get()
    address = reverse("projects:dataset_mapping", args=["intents", upload.pk])
    page = client.get(address).content.decode()
    assert page.count("data:image/png;base64,") == 8
    assert '<option value="image" selected>' in page
    posted = {
        "name": "pictures", "task": "image-classification", "task-was": "image-classification",
        "known": ["image", "label"], "role-image": "image", "role-label": "label",
    }  # fmt: skip
    client.post(address, posted)
    version = DatasetVersion.objects.get()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.labels) == ("ready", ["cat", "dog"])


def test_pictures_of_the_hub_get_the_names_of_its_card(
    project: Project, tmp_path: Path, settings: LazySettings
) -> None:
    folder = tmp_path / "digits"
    (folder / "data").mkdir(parents=True)
    for split in ("train", "test"):
        content = parquet(PICTURES, told=False)
        (folder / f"data/{split}-00000-of-00001.parquet").write_bytes(content)
    names = "dtype: {class_label: {names: {'0': zero, '1': one}}}"
    card = f"---\ndataset_info:\n  features:\n  - name: label\n    {names}\n---\n"
    (folder / "README.md").write_text(card)
    with Hub({}, {"some/digits": folder}) as server:
        settings.HF_ENDPOINT = server.address
        version = hub_datasets.take(
            project=project, hub={"id": "some/digits"}, name="digits",
            task="image-classification", by=project.created_by,
        )  # fmt: skip
        ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.error) == ("ready", None)
    assert version.labels == ["one", "zero"]
    assert version.splits["test"]["rows"] == ROWS
