"""A newcomer distils a model in the browser: data, teacher, student, two runs, the file."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect
from safetensors import safe_open

from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=20_000)
SOON = 60_000  # ms: something a worker does in the background
TRAINED = 120_000  # ms: a run on a busy machine with one core


def make_project(page: Page, name: str) -> None:
    page.locator("main a[href='/projects/new/']").first.click()
    page.locator("#id_name").fill(name)
    page.get_by_role("button", name="Make project").click()
    expect(page).to_have_url(re.compile(r"/p/[a-z0-9-]+/"))


def bring_data(page: Page, name: str, file: FilePayload) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Datasets").click()
    page.locator("main a[href$='/datasets/new/']").first.click()
    page.locator("input[name=file]").set_input_files(file)
    page.get_by_role("button", name="Upload and look").click()
    expect(page.get_by_role("heading", name="This is what was understood")).to_be_visible()
    page.locator("#mapping input[name=name]").fill(name)
    page.get_by_role("button", name="Make the dataset").click()
    expect(page.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)


def register(page: Page, role: str, name: str, options: dict[str, str]) -> None:
    listed = f"{role.capitalize()}s"
    page.get_by_role("navigation", name="Main").get_by_role("link", name=listed).click()
    page.get_by_role("link", name=f"New {role}").first.click()
    page.locator("#id_name").fill(name)
    for label, value in options.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name=f"Register {role}").click()
    expect(page.get_by_role("heading", name=f"{name}@1")).to_be_visible()
    expect(page.locator("[data-status=ready]")).to_be_visible(timeout=SOON)


def start(page: Page, button: str, **typed: str) -> None:
    """Type into the run form as it stands, wait for its live check, and start."""
    for name, value in typed.items():
        page.locator(f"[name='training.{name}']").fill(value)
    expect(page.locator("#run-summary .problems")).to_have_count(0)
    page.get_by_role("button", name=button, exact=True).click()
    expect(page).to_have_url(re.compile(r"/runs/\d+/$"))


def finished(page: Page) -> None:
    expect(page.locator(".run-head [data-status=finished]").last).to_be_visible(timeout=TRAINED)


def distil(page: Page, *, teacher: str, student: str, folder: Path) -> Path:
    """Fine-tune the teacher, distil it with a control, and download the student."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Runs").click()
    page.locator("main a[href$='/runs/new/']").first.click()
    page.locator(f"[name=student][value='{teacher}@1']").check()
    start(page, "Start run", epochs="6", learning_rate="0.01")
    page.reload()  # nothing is lost by it
    finished(page)

    page.get_by_role("navigation", name="Main").get_by_role("link", name="Runs").click()
    page.locator("main a[href$='/runs/new/']").first.click()
    expect(page.locator("[name=preset][value=soft_targets]")).to_be_checked()
    expect(page.locator(f"[name=teachers][value='{teacher}@2']")).to_be_checked()
    page.locator(f"[name=student][value='{student}@1']").check()
    expect(page.locator("#run-summary .sentence")).to_contain_text(
        f"Distil {teacher}@2 into {student}@1"
    )
    page.locator("[name='losses.0.temperature']").fill("0")
    expect(page.locator("[data-fault='losses.0.temperature']")).to_contain_text("between")
    page.locator("[name='losses.0.temperature']").fill("2")
    expect(page.locator("#run-formula")).to_contain_text("2² · KL(softmax(t/2) ‖ softmax(s/2))")
    start(page, "Start run and control", epochs="6", learning_rate="0.01")
    finished(page)
    address = page.url
    page.locator(".player-control").get_by_role("link", name=re.compile("^Run ")).click()
    finished(page)
    page.goto(address)
    expect(page.locator(".verdict")).to_contain_text("the same student on labels alone")

    page.get_by_role("navigation", name="Main").get_by_role("link", name="Students").click()
    page.get_by_role("link", name=student, exact=True).click()
    page.get_by_role("link", name=f"{student}@2").click()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download", exact=True).first.click()
    archive = folder / "student.zip"
    coming.value.save_as(archive)
    return archive


def check_model(archive: Path) -> None:
    """The student opens with safetensors alone, and says what it is."""
    folder = archive.parent / "student"
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        packed.extractall(folder)
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        assert sum(weights.get_tensor(name).size for name in weights.keys()) > 100  # noqa: SIM118
    assert '"labels"' in (folder / "distillhub.json").read_text()


def promote(page: Page) -> None:
    """Rules that the student breaks refuse it; rules that it keeps let it be production."""
    page.get_by_role("link", name="Promotion", exact=True).click()
    for least, moved in (("1.01", False), ("0.2", True)):
        page.get_by_label("Score at least").fill(least)
        page.get_by_role("button", name="Keep these rules").click()
        page.get_by_role("button", name="Promote to production").click()
        told = "production means tiny@2 now" if moved else "was not promoted: 1 of 1 rules"
        expect(page.locator("#toasts")).to_contain_text(told)
    expect(page.locator(".attempt")).to_have_count(2)
    expect(page.get_by_role("heading", name="tiny@2 is production")).to_be_visible()


def bundle(page: Page, folder: Path) -> Path:
    page.get_by_role("link", name="Publish", exact=True).click()
    page.get_by_role("button", name="Make a bundle").click()
    ready = page.get_by_role("link", name="Download the bundle")
    expect(ready).to_be_visible(timeout=TRAINED)
    with page.expect_download() as coming:
        ready.click()
    archive = folder / "bundle.zip"
    coming.value.save_as(archive)
    return archive


def check_bundle(archive: Path) -> None:
    """It answers its own examples as the student did. (In a clean environment:
    tests/engine/test_bundles.py.)"""
    folder = archive.parent / "bundle"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    assert "## Results" in (folder / "README.md").read_text()
    checked = [sys.executable, "predict.py", "--check"]
    done = subprocess.run(checked, cwd=folder, capture_output=True, text=True)
    assert "5 of 5 examples" in done.stdout, done.stderr


def test_a_newcomer_distils_a_text_classifier(
    stack: Stack, visitor: Page, texts: bytes, tmp_path: Path
) -> None:
    make_project(visitor, "Intents")
    bring_data(visitor, "intents", {"name": "intents.csv", "mimeType": "text/csv", "buffer": texts})
    register(visitor, "teacher", "large", {"Vocabulary": "2000", "Width": "64"})
    register(visitor, "student", "tiny", {"Vocabulary": "500", "Width": "4"})
    check_model(distil(visitor, teacher="large", student="tiny", folder=tmp_path))
    promote(visitor)
    check_bundle(bundle(visitor, tmp_path))


def test_a_newcomer_distils_an_image_classifier(
    stack: Stack, visitor: Page, pictures: bytes, tmp_path: Path
) -> None:
    make_project(visitor, "Digits")
    zipped: FilePayload = {
        "name": "digits.zip",
        "mimeType": "application/zip",
        "buffer": pictures,
    }
    bring_data(visitor, "digits", zipped)
    register(visitor, "teacher", "convnet", {"Channels": "16, 32", "Hidden": "64"})
    register(visitor, "student", "small", {"Channels": "4", "Hidden": "0"})
    check_model(distil(visitor, teacher="convnet", student="small", folder=tmp_path))
