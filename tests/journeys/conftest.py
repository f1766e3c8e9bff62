"""A whole DistillHub as its users have it: `distillhub up` in a home of its own, on a free port,
and a headless Chromium that asks no other host for anything."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from playwright.sync_api import ConsoleMessage, Page

from tests.conftest import DATA
from tests.engine.hub_server import Hub

ROOT = Path(__file__).resolve().parent.parent.parent
READY_WITHIN = 120.0  # seconds, on a busy machine with an empty home
GONE_WITHIN = 30.0
CHROMIUM = Path("/usr/bin/chromium")  # Debian's; elsewhere Playwright's own
SILENT = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--use-fake-device-for-media-stream",  # a microphone that beeps, and is allowed
    "--use-fake-ui-for-media-stream",
]
#: A test is faster than any person: without this it clicks and types into a page whose scripts do
#: not listen yet, and what it did is lost.
UNSEEN_UNTIL_READY = """
const unseen = new CSSStyleSheet();
unseen.replaceSync("html { visibility: hidden }");
document.adoptedStyleSheets.push(unseen);
document.addEventListener("DOMContentLoaded", () => { document.adoptedStyleSheets = []; });
"""
#: Of pages that were left, and of connections that a test cuts.
LEFT = ("htmx:sendAbort", "htmx:afterRequest", "Failed to load resource: net::")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    found = {"executable_path": str(CHROMIUM)} if CHROMIUM.exists() else {}
    return browser_type_launch_args | found | {"args": SILENT}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Addresses come from the stack. (The plugin's own fixture is deprecated by pytest 9.)"""


@dataclass(frozen=True)
class Stack:
    """A running installation."""

    home: Path
    address: str

    def command(self, *arguments: str) -> str:
        """The last line that a `distillhub` command prints about this home."""
        done = subprocess.run(
            [sys.executable, "-m", "distillhub.cli", *arguments, "--home", str(self.home)],
            cwd=ROOT,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A small hub on the loopback with one dataset, `some/words`: two splits as JSON Lines."""
    folder = tmp_path_factory.mktemp("hub")
    names = ["lost card", "top up"]
    told = "\n".join(f"          '{place}': {name}" for place, name in enumerate(names))
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
        f"        names:\n{told}\n---\n"
    )
    for split, rows in (("train", 80), ("test", 20)):
        lines = [
            json.dumps({"text": f"{split} words number {n}", "label": n % 2}) for n in range(rows)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    with Hub({}, {"some/words": folder}) as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack") / "home"
    output = home.parent / "up.log"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "distillhub.cli", "up", "--home", str(home), "--port", "8700",
             "--no-demo"],
            cwd=ROOT,
            env=_environment() | {"HF_ENDPOINT": hub.address},
            stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Stack(home, _address(process, output))
    finally:
        _stop(process)


@pytest.fixture
def visitor(stack: Stack, page: Page) -> Iterator[Page]:
    """A browser page, signed in by a one-time link, on which nothing may go wrong unseen."""
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # htmx calls it an error when a page is left while it still asks for something.
        if message.type == "error" and not message.text.startswith(LEFT):
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(30_000)
    page.add_init_script(UNSEEN_UNTIL_READY)
    page.goto(stack.command("sign-in-link"))
    yield page
    assert not wrong


def _environment() -> dict[str, str]:
    """This process's, without what the test run itself set for Django."""
    ours = ("DISTILLHUB_HOME", "DJANGO_SETTINGS_MODULE", "SITE_URL", "DATABASE_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    told = {"DISTILLHUB_RUN_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return kept | told | {"DISTILLHUB_OUTGOING_ALLOW": "127.0.0.0/8"}  # services of tests


def _address(process: subprocess.Popen[bytes], output: Path) -> str:
    give_up = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up and process.poll() is None:
        if found := re.search(r"Address\s+(http://\S+)", output.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"`distillhub up` did not become ready:\n{output.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, and nothing may be left."""
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GONE_WITHIN)
    finally:
        _, left = psutil.wait_procs(started, timeout=5)
        for orphan in left:
            orphan.kill()
        if process.poll() is None:
            process.kill()
    assert not left, f"processes outlived `distillhub up`: {left}"


# Small real data ------------------------------------------------------------------------------

INTENTS = {
    "lost_card": ("I lost my card", "my card is gone", "someone stole the card"),
    "exchange_rate": ("what is the exchange rate", "how much are euros in dollars", "rate today"),
    "top_up_failed": ("my top up failed", "adding money did not work", "top up was declined"),
    "change_pin": ("how do I change my pin", "I want a new pin code", "reset the pin"),
}
PLACES = ("please", "again", "in Paris", "at the bank", "since Monday", "for my sister", "abroad",
          "by phone", "in the app", "this week", "for free", "right now")  # fmt: skip


@pytest.fixture(scope="session")
def texts() -> bytes:
    """A CSV of a few intents: the first six of banking77 where it is there, else made here."""
    rows: list[tuple[str, str]] = []
    if (DATA / "banking77" / "train.csv").exists():
        with (DATA / "banking77" / "train.csv").open(newline="") as file:
            read = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        chosen = sorted({label for _, label in read})[:6]
        for label in chosen:
            rows += [row for row in read if row[1] == label][:60]
    else:
        rows = [
            (f"{said} {place}", intent)
            for intent, sayings in INTENTS.items()
            for said in sayings
            for place in PLACES
        ]
    out = io.StringIO()
    csv.writer(out).writerows([("text", "category"), *rows])
    return out.getvalue().encode()


@pytest.fixture(scope="session")
def pictures() -> bytes:
    """A zip of handwritten digits as PNG, one folder a class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for index in range(600):
            png = io.BytesIO()
            Image.fromarray((digits.images[index] * 15).astype("uint8")).save(png, "PNG")
            archive.writestr(f"{digits.target[index]}/{index}.png", png.getvalue())
    return made.getvalue()
