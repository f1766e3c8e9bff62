"""Tiny data and a trained teacher of each task, made once a session."""

from pathlib import Path

import pytest
import torch

from tests.engine import jobs


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    return jobs.texts(tmp_path_factory.mktemp("texts") / "dataset.parquet")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    return jobs.images(tmp_path_factory.mktemp("images") / "dataset.parquet")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON) -> Path:
    """The model folder of a fine-tuned bag of embeddings; its job folder is two above."""
    folder = jobs.write(
        tmp_path_factory.mktemp("teacher"),
        texts,
        options={**jobs.SMALL_BAG, "dim": 16, "bigrams": 50},
        training={"epochs": 6},
    )
    jobs.run(folder)
    return folder / "output" / "model"


@pytest.fixture(scope="session")
def image_teacher(tmp_path_factory: pytest.TempPathFactory, images: jobs.JSON) -> Path:
    folder = jobs.write(
        tmp_path_factory.mktemp("image-teacher"),
        images,
        task="image-classification",
        architecture="small_convnet",
        options={"channels": [8, 8], "hidden": 16},
        training={"epochs": 3, "learning_rate": 0.01},
    )
    jobs.run(folder)
    return folder / "output" / "model"
