"""Rows become vectors and points of a map: the same every time, near where they are alike."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine import jobs
from training.engine import components, embedding, journal, plane, text_vectors
from training.engine.errors import ConfigError, DataError, ModelError

INPUTS = {"texts": "text", "images": "image", "sounds": "audio", "tables": ""}
MADE: dict[str, Any] = {
    "texts": jobs.texts,
    "images": jobs.images,
    "sounds": jobs.sounds,
    "tables": jobs.tables,
}


def write(folder: Path, dataset: jobs.JSON, reads: str, **others: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    raw: jobs.JSON = {
        "format": 1,
        "model": None,
        "input": reads,
        "dataset": {"columns": {}} | dataset,
    }
    (folder / "config.json").write_text(json.dumps(raw | {"threads": 1} | others))
    return folder


def embedded(folder: Path) -> tuple[jobs.JSON, NDArray[Any], NDArray[Any]]:
    """(the report, vectors, points) of a job folder."""
    report = embedding.embed(folder)["report"]
    return report, *(np.load(folder / f"output/{name}.npy") for name in ("vectors", "points"))


def nearest(vectors: NDArray[Any]) -> NDArray[Any]:
    """Of each row, the other one that is nearest to it."""
    products = vectors.astype(np.float32) @ vectors.astype(np.float32).T
    np.fill_diagonal(products, -2)
    found: NDArray[Any] = products.argmax(axis=1)
    return found


@pytest.mark.parametrize("kind", MADE)
def test_without_a_model_rows_of_one_label_are_near_each_other_and_every_time_the_same(
    kind: str, tmp_path: Path
) -> None:
    dataset = MADE[kind](tmp_path / "data.parquet", rows=120)
    found = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "data.parquet").hardlink_to(tmp_path / "data.parquet")
        described = dataset | {"path": "data.parquet"}
        found.append(embedded(write(folder, described, INPUTS[kind])))
    (report, vectors, points), (_, again, same) = found
    assert [str(one.dtype) for one in (vectors, points)] == ["float16", "float32"]
    assert points.shape == (120, 2)
    assert report["rows"] == 120
    assert vectors.shape == (120, report["width"])
    assert np.array_equal(vectors, again)
    assert np.array_equal(points, same)
    assert np.linalg.norm(vectors.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    own = np.arange(120) % 3
    assert (own[nearest(vectors)] == own).mean() > 0.6  # by chance: a third


def test_a_model_places_rows_by_what_stands_before_its_last_layer(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    model = {"name": "big@1", "path": str(teacher), "task": "text-classification"}
    report, vectors, points = embedded(write(tmp_path / "job", texts, "text", model=model))
    assert report["made_by"] == "big@1"
    assert np.isfinite(points).all()
    own = np.arange(len(vectors)) % 3
    assert (own[nearest(vectors)] == own).mean() > 0.9
    assert not (tmp_path / "job/output/words.npy").exists()


def test_what_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    with pytest.raises(ConfigError, match="principal, neighbours"):
        embedding.embed(write(tmp_path / "a", texts, "text", plane="globe"))
    model = {"name": "big@1", "path": str(teacher), "task": "text-classification"}
    with pytest.raises(ModelError, match="big@1 reads text, not these"):
        embedding.embed(write(tmp_path / "b", texts, "image", model=model))
    gone = texts | {"path": "nothing.parquet"}
    with pytest.raises(DataError, match="missing"):
        embedding.embed(write(tmp_path / "c", gone, "text"))


def test_equal_texts_are_each_others_neighbours_and_an_empty_one_is_nowhere(tmp_path: Path) -> None:
    written = [f"a question about {word}" for word in ("cards", "loans", "rent", "rates")] * 2
    dataset = jobs.of_texts(tmp_path / "data.parquet", [*written, ""])
    _, vectors, points = embedded(write(tmp_path, dataset | {"path": "data.parquet"}, "text"))
    assert nearest(vectors[:8]).tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert not vectors[8].any()
    assert np.isfinite(points).all()


def test_typed_words_stand_where_a_row_with_the_same_words_does(tmp_path: Path) -> None:
    written = [f"{one} my {other}" for one in ("pay", "stop", "lose") for other in ("card", "bill")]
    dataset = jobs.of_texts(tmp_path / "data.parquet", written)
    _, vectors, _ = embedded(write(tmp_path, dataset | {"path": "data.parquet"}, "text"))
    directions = text_vectors.Directions(np.load(tmp_path / "output/words.npy", mmap_mode="r"))
    typed = directions.vectors(["Lose my CARD!", "", "\ud800 broken"])
    assert (vectors.astype(np.float32) @ typed[0]).argmax() == written.index("lose my card")
    assert not typed[1].any()


def test_principal_directions_are_numpys_up_to_their_sign() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 9)) @ np.random.default_rng(1).normal(
        size=(9, 9)
    )
    mean, into, share = components.principal(lambda: iter((rows[:100], rows[100:])), 3)
    _, values, turned = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    assert mean == pytest.approx(rows.mean(axis=0))
    assert np.abs(np.sum(into * turned[:3].T, axis=0)) == pytest.approx(1)
    assert share == pytest.approx(values[:3] ** 2 / np.sum(values**2))
    assert (into[np.abs(into).argmax(axis=0), range(3)] > 0).all()


def test_the_largest_directions_of_a_sparse_matrix_are_numpys() -> None:
    texts = [f"{a} {b} {c}" for a in ("pay", "stop", "lose") for b in ("my", "a") for c in "xyz"]
    features = text_vectors.Cutter().features(texts)
    dense = features.toarray()
    found = components.largest(features, 4)
    exact = np.linalg.svd(dense, full_matrices=False)
    assert np.linalg.norm(dense @ found) ** 2 == pytest.approx(np.sum(exact[1][:4] ** 2), rel=1e-3)


def test_neighbours_stay_together_on_the_plane_the_same_way_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plane, "PLACED", 90)
    chance = np.random.default_rng(0)
    groups = np.arange(180) % 3
    vectors = text_vectors.unit(
        np.eye(3, 8, dtype=np.float32)[groups] + chance.normal(0, 0.1, (180, 8)).astype(np.float32)
    ).astype(np.float16)
    points = plane.neighbours(vectors, seed=3)
    assert np.array_equal(points, plane.neighbours(vectors, seed=3))
    middles = np.stack([points[groups == one].mean(axis=0) for one in range(3)])
    apart = np.linalg.norm(points[:, None] - middles[None], axis=2)
    assert (apart.argmin(axis=1) == groups).all()


def test_of_real_questions_the_nearest_have_the_same_intent(
    tmp_path: Path, shared_data: Path
) -> None:
    with (shared_data / "banking77/test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    dataset = jobs.of_texts(tmp_path / "data.parquet", [row["text"] for row in rows])
    _, vectors, _ = embedded(write(tmp_path, dataset | {"path": "data.parquet"}, "text"))
    intents = np.array([row["category"] for row in rows])
    assert len(set(intents)) == 77  # by chance one of 77 has the same
    assert (intents[nearest(vectors)] == intents).mean() > 0.75


def test_few_rows_and_equal_ones_have_a_map_too(tmp_path: Path) -> None:
    for many in (1, 2, 12):
        dataset = jobs.of_texts(tmp_path / f"{many}.parquet", ["all the same"] * many)
        described = dataset | {"path": f"../{many}.parquet"}
        folder = write(tmp_path / str(many), described, "text", plane="neighbours")
        _, vectors, points = embedded(folder)
        assert vectors.shape[0] == many
        assert np.isfinite(points).all()


def test_the_command_leaves_files_a_report_and_a_journal(tmp_path: Path) -> None:
    dataset = jobs.of_texts(tmp_path / "data.parquet", ["pay my card", "stop it", "lose my bill"])
    write(tmp_path, dataset | {"path": "data.parquet"}, "text")
    command = [sys.executable, "-m", "training.engine", "embed", str(tmp_path)]
    assert subprocess.run(command, cwd=jobs.ROOT, check=False).returncode == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert [one["name"] for one in result["files"]] == ["points.npy", "vectors.npy", "words.npy"]
    assert result["report"]["made_by"] == "words and parts of words"
    lines = list(journal.read(tmp_path / "journal.jsonl"))
    assert [one["name"] for one in lines if one["type"] == "stage"] == [
        "making vectors",
        "drawing the map",
    ]
