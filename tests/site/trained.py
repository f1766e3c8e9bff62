"""A dataset, a student and a run, through REST alone: what any program would do."""

import io
import json
from typing import Any

import numpy as np
from PIL import Image

from tests.site.processes import ask, until

PROJECT = "/api/v1/projects/shapes"
RUN = f"{PROJECT}/runs/1"
REQUEST = "launched-by-a-test"


def archive() -> bytes:
    """Two classes of small pictures that a tiny network tells apart: stripes down and across."""
    import zipfile

    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for number in range(240):
            label = ("down", "across")[number % 2]
            pixels = random.integers(0, 120, (8, 8), dtype=np.uint8)
            place = int(random.integers(0, 8))
            if label == "down":
                pixels[:, place] = 255
            else:
                pixels[place, :] = 255
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            out.writestr(f"{label}/{number:03}.png", png.getvalue())
    return buffer.getvalue()


class Watched:
    """Calling it reads the run."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self.token = address, token

    def __call__(self) -> dict[str, Any]:
        status, answer = ask(self.address, f"{RUN}/", token=self.token)
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found


def launch(address: str, token: str, *, epochs: int) -> Watched:
    """Upload, register, launch; the run begins by itself."""

    def post(path: str, **content: Any) -> Any:
        status, answer = ask(address, path, token=token, request_id=REQUEST, **content)
        assert status == 201, answer
        return answer

    def ready(path: str) -> None:
        def look() -> bool:
            status, answer = ask(address, path, token=token)
            assert status == 200, answer
            assert answer["status"] != "failed", answer
            return bool(answer["status"] == "ready")

        until(look)

    post("/api/v1/projects/", body={"name": "Shapes"})
    post(
        f"{PROJECT}/datasets/",
        form={
            "name": "stripes",
            "task": "image-classification",
            "file": ("stripes.zip", archive()),
        },
    )
    post(
        f"{PROJECT}/models/",
        body={
            "name": "tiny",
            "role": "student",
            "task": "image-classification",
            "source": {
                "kind": "architecture",
                "architecture": "mlp",
                "config": {"hidden": [8], "image_size": 8},
            },
        },
    )
    ready(f"{PROJECT}/datasets/stripes/versions/1/")
    ready(f"{PROJECT}/models/tiny/versions/1/")
    made = post(
        f"{PROJECT}/runs/",
        body={
            "name": "stripes",
            "task": "image-classification",
            "dataset": "stripes@1",
            "student": "tiny@1",
            "training": {"epochs": epochs, "batch_size": 16, "checkpoint_every_steps": 50},
        },
    )
    assert made["number"] == 1, json.dumps(made)
    return Watched(address, token)
