"""Static files are collected while web processes begin and run; no page fails for it."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from distillhub.lib.static import HashedAndCompressed


@pytest.fixture
def collected(tmp_path: Path, settings: Any) -> HashedAndCompressed:
    """Into a folder of its own: one style sheet."""
    settings.STATIC_ROOT, settings.DEBUG = str(tmp_path), False
    store = HashedAndCompressed(location=str(tmp_path), base_url="/static/")
    collect(store, "app.css")
    return store


def collect(store: HashedAndCompressed, name: str) -> None:
    if not store.exists(name):
        store.save(name, ContentFile(b"p { color: red }"))
    for _ in store.post_process({name: (store, name)}):
        pass


def begun(store: HashedAndCompressed) -> HashedAndCompressed:
    """The files as a web process sees them that begins now."""
    return HashedAndCompressed(location=store.location, base_url="/static/")


def test_a_page_names_files_by_their_hash(collected: HashedAndCompressed) -> None:
    assert begun(collected).url("app.css").startswith("/static/app.")
    with pytest.raises(ValueError, match="Missing staticfiles manifest entry"):
        begun(collected).url("absent.css")


def test_a_process_that_began_before_files_were_collected_finds_them_when_they_are(
    collected: HashedAndCompressed,
) -> None:
    path = Path(collected.path(collected.manifest_name))
    kept = path.read_text()
    path.unlink()
    early = begun(collected)
    with pytest.raises(ValueError, match="Missing staticfiles manifest entry"):
        early.url("app.css")
    path.write_text(kept)
    assert early.url("app.css") == collected.url("app.css")


def test_files_that_were_collected_since_are_found(collected: HashedAndCompressed) -> None:
    running = begun(collected)
    collect(begun(collected), "new.css")
    assert running.url("new.css").startswith("/static/new.")


def test_there_is_a_whole_list_at_every_moment_of_collecting(
    collected: HashedAndCompressed,
) -> None:
    path = Path(collected.path(collected.manifest_name))
    missed: list[str] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            try:
                json.loads(path.read_text())
            except (OSError, ValueError) as fault:
                missed.append(str(fault))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(300):
        collected.save_manifest()
    is_over.set()
    reader.join()
    assert not missed
    assert [one.name for one in path.parent.glob("*.new")] == []
