"""The page that tells how to send rows: what it shows can be copied, and works."""

import ast
import base64
import io
import json
import re
import wave
from html import unescape
from typing import Any

import pytest
from PIL import Image

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Monitor
from training.views import monitor_connect

WHERE = "/p/intents/monitors/live/connect/"


@pytest.fixture(params=["text-classification", "tabular-classification", "image-classification"])
def monitor(request: pytest.FixtureRequest, project: Project) -> Monitor:
    version = make.model_version(project, "small", labels=["it's", "no <b>"])
    return make.monitor(version, task=request.param)


def codes(page: str) -> dict[str, str]:
    """What the buttons copy, by the ids of the examples."""
    found = re.findall(r'<pre class="code" id="(\w+)-code" tabindex="0">(.*?)</pre>', page, re.S)
    return {key: unescape(text) for key, text in found}


def test_every_example_can_be_copied_and_is_taken(monitor: Monitor, vera: User, erin: User) -> None:
    page = signed_in(vera).get(WHERE).content.decode()
    shown = codes(page)
    assert set(shown) == {"python", "fastapi", "django", "curl", "later", "short"}
    for key in shown:
        assert f'data-copy-from="#{key}-code"' in page
    for key in ("python", "fastapi", "django", "short"):
        ast.parse(shown[key])
        assert "http://testserver/api/v1/projects/intents/monitors/live" in shown[key]
    body = shown["curl"].split("-d '", 1)[1].removesuffix("'").replace(r"'\''", "'")
    sent: dict[str, Any] = json.loads(body)
    answer = api_of(erin).post(
        "/api/v1/projects/intents/monitors/live/inferences/", sent, format="json"
    )
    assert answer.json() == {"accepted": 1}
    known = json.loads(shown["later"].split("-d '", 1)[1].removesuffix("'").replace(r"'\''", "'"))
    assert known["labels"][0]["id"] == sent["inferences"][0]["id"]
    late = api_of(erin).post("/api/v1/projects/intents/monitors/live/labels/", known, format="json")
    assert late.json() == {"accepted": 1}
    assert "1 row waits to be taken in" in signed_in(vera).get(WHERE).content.decode()


def test_the_example_of_a_picture_or_a_sound_can_be_read() -> None:
    with Image.open(io.BytesIO(base64.b64decode(monitor_connect.PIXEL))) as picture:
        assert picture.convert("L").getpixel((0, 0)) == 128
    sound = monitor_connect.example(Monitor(task="audio-classification"))["input"]["base64"]
    with wave.open(io.BytesIO(base64.b64decode(sound))) as heard:
        assert heard.getnframes() == 80


def test_files_that_it_offers_are_there(project: Project, vera: User) -> None:
    make.monitor(make.model_version(project, "small", labels=["no", "yes"]))
    page = signed_in(vera).get(WHERE).content.decode()
    files = set(re.findall(r'href="(/static/clients/[^"]+)" download', page))
    assert {one.rsplit("/", 1)[1] for one in files} == {
        "distillhub_monitor.py", "fastapi_monitor.py", "django_monitor.py"
    }  # fmt: skip
