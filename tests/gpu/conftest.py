"""Skips all of this folder where there is no GPU, or none was named: `CUDA_VISIBLE_DEVICES=0 pytest
tests/gpu`. It needs no Django: `pytest -c /dev/null --rootdir . --confcutdir tests/gpu tests/gpu`
runs it on a machine that only has torch."""

from pathlib import Path

import pytest
import torch

from tests.engine import jobs
from tests.engine.conftest import image_teacher, images, texts  # noqa: F401

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacking = pytest.mark.skip(reason="no CUDA GPU here, or none named")
    for item in items:
        if HERE in item.path.parents and not torch.cuda.is_available():
            item.add_marker(lacking)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    return jobs.sounds(tmp_path_factory.mktemp("sounds") / "dataset.parquet")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON) -> str:  # noqa: F811
    folder = jobs.write(
        tmp_path_factory.mktemp("teacher"),
        texts,
        options={**jobs.SMALL_BAG, "dim": 16, "bigrams": 50},
        training={"epochs": 6, "precision": "float32"},
    )
    jobs.run(folder)
    return str(folder / "output" / "model")
