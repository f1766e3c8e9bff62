"""A sweep of twelve trials on real pictures through REST, with one pass of the teacher; and what
was best, tested."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext

from tests.journeys.test_rest import api as api  # a fixture
from tests.journeys.test_rest import post, settled

pytestmark = pytest.mark.slow

ROWS = 40  # of each of the ten classes
HOME = "projects/wardrobe"


@pytest.fixture(scope="module")
def pictures(shared_data: Path) -> bytes:
    """A part of Fashion-MNIST, in folders by class."""
    buffer = io.BytesIO()
    counts: dict[str, int] = {}
    with (
        zipfile.ZipFile(shared_data / "fashion_mnist" / "fashion_png_classfolders.zip") as whole,
        zipfile.ZipFile(buffer, "w") as part,
    ):
        for name in whole.namelist():
            kind = name.rsplit("/", 2)[-2] if name.endswith(".png") else ""
            if kind and counts.setdefault(kind, 0) < ROWS:
                counts[kind] += 1
                part.writestr(f"{kind}/{counts[kind]}.png", whole.read(name))
    return buffer.getvalue()


def register(api: APIRequestContext, name: str, role: str, **config: Any) -> None:
    source = {"kind": "architecture", "architecture": "small_convnet", "config": config}
    asked = {"name": name, "role": role, "task": "image-classification", "source": source}
    post(api, f"{HOME}/models/", data=asked)
    settled(api, f"{HOME}/models/{name}/versions/1/")


def test_twelve_trials_ask_the_teacher_once_and_the_best_is_tested(
    api: APIRequestContext, pictures: bytes
) -> None:
    post(api, "projects/", data={"name": "Wardrobe"})
    file = {"name": "fashion.zip", "mimeType": "application/zip", "buffer": pictures}
    form = {"name": "fashion", "task": "image-classification", "file": file}
    post(api, f"{HOME}/datasets/", multipart=form)
    rows = settled(api, f"{HOME}/datasets/fashion/versions/1/")["splits"]
    register(api, "large", "teacher", channels=[16, 32], hidden=64)
    register(api, "tiny", "student", channels=[4, 8], hidden=8)
    register(api, "small", "student", channels=[8, 8], hidden=16)
    base = {"task": "image-classification", "dataset": "fashion"}
    teaching = {**base, "student": "large", "training": {"epochs": 8, "learning_rate": 0.005}}
    teacher = post(api, f"{HOME}/runs/", data=teaching)
    settled(api, f"{HOME}/runs/{teacher['number']}/")

    space = {
        "losses.0.temperature": {"low": 1, "high": 8},
        "training.learning_rate": {"low": 0.0005, "high": 0.05, "log": True},
        "student": {"values": ["tiny", "small@1"]},
    }
    asked = {
        "kind": "sweep",
        "base": {**base, "teachers": ["large@2"], "training": {"epochs": 2}},
        "space": space,
        "trials": 12,
        "at_once": 2,
        "control": False,
        "seeds": 1,
    }
    made = post(api, f"{HOME}/studies/", data=asked)
    at = f"{HOME}/studies/{made['number']}"
    told = settled(api, f"{at}/")
    counts = told["sweep"]["counts"]
    assert counts["complete"] + counts["pruned"] == 12, counts
    assert told["sweep"]["space"]["student"]["values"] == ["tiny@1", "small@1"]

    # One pass of the teacher over the rows that trials are trained and judged on, and none over
    # the test rows.
    trials = api.get(f"{at}/trials/").json()["results"]
    lines = [
        line["text"]
        for one in trials
        for line in api.get(f"{HOME}/runs/{one['run']}/logs/").json()["lines"]
    ]
    answered = [line for line in lines if line.startswith("large@2 answered")]
    counted = {split: f"{rows[split]['rows']:,}" for split in ("train", "validation", "test")}
    assert sorted(answered) == [
        f"large@2 answered {counted['train']} train rows.",
        f"large@2 answered {counted['validation']} validation rows.",
    ]
    assert sum(line.startswith("large@2 had answered before") for line in lines) == 22
    for one in trials:
        run = api.get(f"{HOME}/runs/{one['run']}/").json()
        assert not [name for name in run["metrics"] if name.startswith("test/")]
        assert run["output"] is None

    best = told["sweep"]["best"]["distilled"]
    scores = [one["value"] for one in trials if one["state"] == "complete"]
    assert best["value"] == max(scores)
    assert told["sweep"]["importance"].keys() <= space.keys()
    tested = post(api, f"{at}/best/")
    done = settled(api, f"{HOME}/studies/{tested['number']}/")
    assert done["verdict"]["answer"] in {"helped", "no_evidence", "hurt"}
    distilled = api.get(f"{HOME}/runs/{done['runs'][0]}/").json()
    assert distilled["config"]["student"] == best["parameters"]["student"]
    assert "test/accuracy" in distilled["metrics"]
    # The same seed and configuration: what was chosen is what is tested.
    assert distilled["metrics"]["val/accuracy"] == pytest.approx(
        api.get(f"{HOME}/runs/{best['run']}/").json()["metrics"]["val/accuracy"], abs=1e-6
    )
