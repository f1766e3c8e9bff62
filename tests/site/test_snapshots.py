"""Backups: written whole or not at all, and nothing is taken back that is not what was written."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from distillhub.lib import snapshots
from distillhub.lib.snapshots import Exists, NotABackup

FACTS = {"made_at": "2026-01-31T12:00:00+00:00", "version": "1", "database": "sqlite"}


@pytest.fixture(params=["backup", "backup.tar"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "kept" / str(request.param)


def written(target: Path) -> Path:
    content = target.parent.parent / "content"
    content.write_bytes(b"weights" * 1000)
    with snapshots.writing(target) as writer:
        sha256 = writer.add("files/blobs/ab/abcd", content)
        assert len(sha256) == 64
        content.write_bytes(b"rows")
        writer.add("database.sqlite3", content)
        writer.close(FACTS)
    return target


def test_what_was_kept_comes_back(target: Path, tmp_path: Path) -> None:
    manifest = snapshots.unpack(written(target), tmp_path / "into")
    assert manifest["made_at"] == FACTS["made_at"]
    assert (tmp_path / "into/files/blobs/ab/abcd").read_bytes() == b"weights" * 1000
    assert (tmp_path / "into/database.sqlite3").read_bytes() == b"rows"
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]


def test_others_cannot_read_it(target: Path) -> None:
    assert written(target).stat().st_mode & 0o077 == 0


def test_nothing_is_overwritten(target: Path) -> None:
    written(target)
    with pytest.raises(Exists, match="is there already"), snapshots.writing(target):
        pass


def test_one_that_broke_off_leaves_nothing(target: Path, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"x")

    def broken_off() -> None:
        with snapshots.writing(target) as writer:
            writer.add("database.sqlite3", content)
            writer.add("files/gone", tmp_path / "gone")

    with pytest.raises(FileNotFoundError):
        broken_off()
    assert list(target.parent.iterdir()) == []


def test_a_file_that_grows_meanwhile_is_kept_as_it_was(target: Path, tmp_path: Path) -> None:
    content = tmp_path / "journal"
    content.write_bytes(b"one\n")
    with content.open("ab") as journal, snapshots.writing(target) as writer:
        writer.add("home/jobs/1/journal.jsonl", content)
        journal.write(b"two\n")
        journal.flush()
        writer.close(FACTS)
    snapshots.unpack(target, tmp_path / "into")
    assert (tmp_path / "into/home/jobs/1/journal.jsonl").read_bytes() == b"one\n"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("flip", "is damaged"),
        ("drop", "lacks"),
        ("add", "does not name"),
        ("no manifest", "holds no manifest"),
        ("other format", "of format 99"),
        ("link", "cannot be read"),
    ],
)
def test_a_folder_that_was_changed_is_refused(tmp_path: Path, change: str, sentence: str) -> None:
    target = written(tmp_path / "kept" / "backup")
    file = target / "files/blobs/ab/abcd"
    match change:
        case "flip":
            raw = bytearray(file.read_bytes())
            raw[100] ^= 1
            file.write_bytes(raw)
        case "drop":
            file.unlink()
        case "add":
            shutil.copy(file, file.with_name("more"))
        case "no manifest":
            (target / "manifest.json").unlink()
        case "other format":
            manifest = json.loads((target / "manifest.json").read_text())
            (target / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
        case "link":
            (target / "files/passwd").symlink_to("/etc/passwd")
    with pytest.raises(NotABackup, match=sentence):
        snapshots.unpack(target, tmp_path / "into")


def test_a_tar_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    target = written(tmp_path / "kept" / "backup.tar")
    target.write_bytes(target.read_bytes()[:5000])
    with pytest.raises(NotABackup):
        snapshots.unpack(target, tmp_path / "into")


@pytest.mark.parametrize("name", ["../out", "/etc/out", "files/../../out", "elsewhere/out", ""])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "evil.tar"
    with tarfile.open(target, "w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(NotABackup):
        snapshots.unpack(target, tmp_path / "into" / "deep")
    assert not list(tmp_path.rglob("out"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    target = tmp_path / "evil.tar"
    with tarfile.open(target, "w") as tar:
        entry = tarfile.TarInfo("files/link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(NotABackup):
        snapshots.unpack(target, tmp_path / "into")
