"""Uploads that are cut off go on where they were: in the browser, and by what programs use."""

import hashlib
import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, Route, expect
from tusclient.client import TusClient

from tests.journeys.conftest import Stack
from tests.journeys.test_first_distillation import SOON, make_project

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of some 40 MB."""
    path = tmp_path_factory.mktemp("large") / "questions.csv"
    line = "Where is my card number %d that was sent " + "a long time ago " * 20 + ",%s\n"
    with path.open("w") as out:
        out.write("text,label\n")
        out.writelines(line % (n, ("card", "refund")[n % 2]) for n in range(110_000))
    return path


def test_what_arrived_before_the_connection_was_cut_is_kept(
    stack: Stack, visitor: Page, large: Path
) -> None:
    make_project(visitor, "Cut off")
    token = re.findall(r"dh_\S+", stack.command("create-token", "admin"))[0]
    headers = {"Authorization": f"Bearer {token}"}
    sha256 = hashlib.sha256(large.read_bytes()).hexdigest()
    client = TusClient(f"{stack.address}/api/v1/uploads/", headers=headers)
    file = large.open("rb")
    told = {"filename": large.name, "sha256": sha256}
    uploader = client.uploader(file_stream=file, chunk_size=8 << 20, metadata=told)
    uploader.set_url(uploader.create_url())
    assert uploader.url
    address, size = urlsplit(uploader.url), large.stat().st_size
    content = large.read_bytes()[: int(0.4 * size)]
    with socket.create_connection((address.hostname, address.port)) as cut:
        cut.sendall(
            f"PATCH {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nTus-Resumable: 1.0.0\r\n"
            f"Authorization: Bearer {token}\r\nUpload-Offset: 0\r\nContent-Length: {size}\r\n"
            "Content-Type: application/offset+octet-stream\r\n\r\n".encode()
            + content
        )
    for _ in range(100):
        if arrived := uploader.get_offset():
            break
        visitor.wait_for_timeout(100)
    assert arrived == len(content)

    uploader.offset = arrived
    uploader.upload()
    file.close()
    body = {"name": "questions", "upload": uploader.url.split("/")[-2]}
    asked = Request(
        f"{stack.address}/api/v1/projects/cut-off/datasets/",
        json.dumps(body).encode(),
        headers | {"Content-Type": "application/json"},
    )
    with urlopen(asked) as answer:
        assert json.load(answer)["source"]["sha256"] == sha256


def test_a_lost_connection_and_a_closed_page_cost_nothing_that_has_arrived(
    visitor: Page, large: Path
) -> None:
    make_project(visitor, "Large files")
    visitor.goto(visitor.url + "datasets/new/")
    requests: list[str] = []
    visitor.on("request", lambda one: requests.append(f"{one.method} {urlsplit(one.url).path}"))
    answers = 0

    def cut(route: Route) -> None:
        nonlocal answers
        answers += 1
        if answers <= 1:
            route.continue_()
        else:
            route.abort("connectionreset")

    visitor.route("**/api/v1/uploads/*/", cut)
    visitor.locator("input[name=file]").set_input_files(large)
    visitor.get_by_role("button", name="Upload and look").click()
    expect(visitor.locator("[data-upload-stage]")).to_have_text(
        "The connection is lost; trying again", timeout=SOON
    )
    visitor.unroute("**/api/v1/uploads/*/")
    visitor.reload()  # and by now the person has lost patience
    visitor.locator("input[name=file]").set_input_files(large)
    requests.clear()
    visitor.get_by_role("button", name="Upload and look").click()
    expect(visitor.get_by_label("First rows of questions.csv").first).to_be_visible(timeout=SOON)
    assert not [one for one in requests if one == "POST /api/v1/uploads/"], "it began anew"
    assert [one for one in requests if one.startswith("HEAD /api/v1/uploads/")]
