"""A student is shipped and watched, its inputs get dark, an alarm rings, and the next student takes
its place: people in the browser, the application by REST."""

import io
import re
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext, Page, Playwright, expect

from tests.journeys.conftest import Stack
from tests.journeys.test_rest import post, settled
from training.demo import images

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SOON = 90_000  # ms: something that a worker does in the background
PATIENCE = 180.0  # seconds
HOME = "projects/lenses"
MONITOR = f"{HOME}/monitors/in-use"
WINDOW, LABELLED = 80, 60  # rows; images of each digit that the models learn from
JSON = dict[str, Any]


@pytest.fixture
def api(stack: Stack, playwright: Playwright) -> Iterator[APIRequestContext]:
    """Of the person who signs in."""
    client = playwright.request.new_context(
        base_url=f"{stack.address}/api/v1/",
        extra_http_headers={"Authorization": f"Bearer {stack.command('create-token', 'admin')}"},
        timeout=60_000,
    )
    yield client
    client.dispose()


def test_a_student_is_watched_warned_of_and_followed_by_a_better_one(
    visitor: Page, api: APIRequestContext
) -> None:
    ship(api)
    watch(visitor, api)

    # What comes is as it was: nothing rings.
    send(api, "clear", [(images.picture(one), one.label) for one in digits(0)[: 2 * WINDOW]])
    windows = judged(api, 2)
    assert not [one for one in windows if one["severity"]]
    assert api.get(f"{HOME}/incidents/").json()["results"] == []

    # It gets dark: the student errs where its teacher does not, and somebody is told.
    send(api, "dark", dark(0, 3 * WINDOW))
    judged(api, 5)
    incident = until(lambda: api.get(f"{HOME}/incidents/").json()["results"])[0]
    signals = {one["signal"] for one in incident["signals"]}
    assert {"described.brightness", "agreement"} <= signals
    proposed = until(lambda: api.get(f"{HOME}/retrainings/").json()["results"])[0]
    assert proposed["status"] == "proposed"
    begin(visitor, incident["number"], proposed["number"])

    # The challenger is trained, held against the champion, and promoted by a person.
    at = f"{HOME}/retrainings/{proposed['number']}/"
    waiting = until(lambda: over(api.get(at).json(), "deciding"))
    assert waiting["judgement"]["passed"], waiting["judgement"]
    before = api.get(f"{MONITOR}/").json()
    promote(visitor, waiting)
    after = until(lambda: refitted(api, before))

    # The new student stands where the old one fell.
    send(api, "after", dark(1, 2 * WINDOW))
    *_, fourth, fifth, sixth, seventh = judged(api, 7)
    for fact in ("agreement", "accuracy"):
        fallen, recovered = (
            [one["facts"][fact]["value"] for one in some]
            for some in ((fourth, fifth), (sixth, seventh))
        )
        assert min(recovered) > max(fallen)
    assert after["version"] == waiting["challenger"]

    # And back, in one go.
    assert api.post(f"{at}rollback/").status == 200
    aliases = api.get(f"{HOME}/models/pocket/aliases/").json()["results"]
    assert {one["name"]: one["version"] for one in aliases}["production"] == 2


# -- the application ------------------------------------------------------------------------------


def ship(api: APIRequestContext) -> None:
    """A project, its digits, a teacher, and its student as `production`."""
    post(api, "projects/", data={"name": "Lenses"})
    file = {"name": "digits.zip", "mimeType": "application/zip", "buffer": dataset()}
    form = {"name": "digits", "task": "image-classification", "file": file}
    post(api, f"{HOME}/datasets/", multipart=form)
    settled(api, f"{HOME}/datasets/digits/versions/1/")
    register(api, "convnet", "teacher", channels=[24, 48], hidden=96)
    register(api, "pocket", "student", channels=[8, 16], hidden=0)
    teaching = {"epochs": 30, "learning_rate": 0.004, "augmentation": "light"}
    teacher = launch(api, student="convnet@1", training=teaching)
    student = launch(
        api,
        student="pocket@1",
        teachers=[f"run/{teacher}"],
        training={"epochs": 30, "learning_rate": 0.01},
        control=False,
    )
    settled(api, f"{HOME}/runs/{student}/")
    moved = api.put(f"{HOME}/models/pocket/aliases/production/", data={"version": 2})
    assert moved.status == 200, moved.text()


def dataset() -> bytes:
    """Digits in folders by split and label; those of `digits` are not among them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for one in images.digits():
            split = {0: "validation", 1: "validation"}.get(one.place, "train")
            if LABELLED <= one.place < LABELLED + 25:
                split = "test"
            if one.place < LABELLED + 25:
                png = images.png(images.picture(one))
                archive.writestr(f"{split}/{one.label}/{one.number}.png", png)
    return made.getvalue()


def digits(half: int) -> list[images.Digit]:
    rest = [one for one in images.digits() if one.place >= LABELLED + 25]
    return rest[half::2]


def dark(half: int, many: int) -> list[tuple[Any, int]]:
    return [(images.darkened(images.picture(one), 0.7), one.label) for one in digits(half)[:many]]


def register(api: APIRequestContext, name: str, role: str, **config: Any) -> None:
    source = {
        "kind": "architecture",
        "architecture": "small_convnet",
        "config": {"image_size": 8, **config},
    }
    asked = {"name": name, "role": role, "task": "image-classification", "source": source}
    post(api, f"{HOME}/models/", data=asked)
    settled(api, f"{HOME}/models/{name}/versions/1/")


def launch(api: APIRequestContext, **configuration: Any) -> int:
    asked = {"task": "image-classification", "dataset": "digits@1", **configuration}
    return int(post(api, f"{HOME}/runs/", data=asked)["number"])


def send(api: APIRequestContext, name: str, shots: list[tuple[Any, int]]) -> None:
    """The shipped student answers, its application tells the monitor, and people say what was
    right."""
    inputs = [{"base64": b64encode(images.png(image)).decode()} for image, _ in shots]
    said = api.post(
        f"{HOME}/models/pocket/predict/", data={"version": "production", "inputs": inputs}
    )
    assert said.status == 200, said.text()
    rows = [
        {
            "id": f"{name}-{place}",
            "time": datetime.now(UTC).isoformat(),
            "input": inputs[place],
            "prediction": answer["label"],
            "probabilities": answer["probabilities"],
            "label": str(shots[place][1]),
        }
        for place, answer in enumerate(said.json()["predictions"])
    ]
    sent = api.post(f"{MONITOR}/inferences/", data={"inferences": rows})
    assert (sent.status, sent.json()) == (202, {"accepted": len(shots)})


# -- people ---------------------------------------------------------------------------------------


def watch(page: Page, api: APIRequestContext) -> None:
    page.goto(f"{address(page)}/p/lenses/models/pocket/2/")
    page.get_by_role("link", name="Monitor this model").click()
    expect(page.locator("#id_model")).to_have_value("pocket@production")
    page.locator("#id_reference").select_option("digits@1:test")
    page.locator("#id_name").fill("in-use")
    page.locator("input[name=window_rows]").fill(str(WINDOW))
    page.get_by_role("button", name="Monitor it").click()
    expect(page).to_have_url(re.compile(r"/p/lenses/monitors/in-use/"))
    policy = {"control": False, "max_old_loss": 0.1, "least_rows": 50}
    kept = api.put(f"{MONITOR}/retraining/", data=policy)
    assert kept.status == 200, kept.text()
    shared = api.patch(f"{MONITOR}/", data={"teacher_sample_rate": 1.0, "teacher_daily": 5000})
    assert shared.status == 200, shared.text()
    until(lambda: api.get(f"{MONITOR}/").json()["fitted_at"])


def begin(page: Page, incident: int, retraining: int) -> None:
    page.goto(f"{address(page)}/p/lenses/incidents/{incident}/")
    expect(page.get_by_text("agreement with the teacher").first).to_be_visible()
    page.get_by_role("button", name="I have seen it").click()
    expect(page.get_by_role("button", name="I have seen it")).to_have_count(0)
    page.get_by_role("link", name=f"Retraining {retraining}").first.click()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("button", name="Begin")).to_have_count(0)


def promote(page: Page, retraining: JSON) -> None:
    page.goto(f"{address(page)}/p/lenses/retrainings/{retraining['number']}/")
    expect(page.get_by_text(retraining["judgement"]["sentence"]).first).to_be_visible()
    page.get_by_role("button", name="Promote to production").click()
    expect(page.locator("[data-status=promoted]").first).to_be_visible(timeout=SOON)


def address(page: Page) -> str:
    return "/".join(page.url.split("/")[:3])


# -- waiting --------------------------------------------------------------------------------------


def until(found: Any) -> Any:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if answer := found():
            return answer
        time.sleep(0.3)
    raise AssertionError("It did not come about in time.")


def judged(api: APIRequestContext, many: int) -> list[JSON]:
    """Windows, oldest first, once so many were judged."""

    def look() -> list[JSON]:
        found = api.get(f"{MONITOR}/reports/?limit=100").json()["results"]
        done = [one for one in found if one["judged_at"]]
        return sorted(done, key=lambda one: one["number"]) if len(done) >= many else []

    windows: list[JSON] = until(look)
    return windows


def over(retraining: JSON, status: str) -> JSON | None:
    assert retraining["status"] not in {"failed", "kept", "cancelled"}, retraining
    return retraining if retraining["status"] == status else None


def refitted(api: APIRequestContext, before: JSON) -> JSON | None:
    """The monitor, once it watches the next version."""
    now: JSON = api.get(f"{MONITOR}/").json()
    moved = now["version"] != before["version"]
    return now if moved and now["fitted_at"] else None
