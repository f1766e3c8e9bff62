"""The laws of storage, held by a local folder and by a real S3 server alike."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from distillhub.lib import places, storage
from distillhub.lib.places import Away, Damaged
from tests.site.buckets import make_bucket, use_s3
from tests.site.processes import ROOT, clean_environment, free_port

LONG_AGO = time.time() - 5 * 86_400


@dataclass
class Kept:
    """Where files lie, with what a disk or a stranger may do to them."""

    bucket: Any = None
    root: Path = Path()

    def spoil(self, name: str, content: bytes) -> None:
        if self.bucket is not None:
            self.bucket.put_object(Key=f"hub/{name}", Body=content)
            return
        (self.root / name).chmod(0o644)
        (self.root / name).write_bytes(content)

    def take_away(self, name: str) -> None:
        if self.bucket is not None:
            self.bucket.delete_objects(Delete={"Objects": [{"Key": f"hub/{name}"}]})
        else:
            (self.root / name).unlink()


@pytest.fixture(params=["folder", "s3"])
def kept(
    request: pytest.FixtureRequest,
    settings: LazySettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Kept:
    if request.param == "folder":
        return Kept(root=tmp_path / "files")
    return Kept(bucket=use_s3(request.getfixturevalue("s3_server"), settings, monkeypatch))


def written(folder: Path, content: bytes, name: str = "written") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def names(room: str = storage.BLOBS) -> list[str]:
    return sorted(one.name for one in storage.listing(room))


def test_what_is_put_is_read_and_copied_to_the_byte(kept: Kept, tmp_path: Path) -> None:
    content = os.urandom(70_000)
    blob = storage.put(written(tmp_path, content))
    assert (blob.sha256, blob.bytes) == (hashlib.sha256(content).hexdigest(), 70_000)
    with storage.open_blob(blob.sha256) as stream:
        assert stream.read(10) == content[:10]
        stream.seek(-5, os.SEEK_END)
        assert stream.read() == content[-5:]
    copy = storage.local_copy(blob.sha256, tmp_path / "here" / "copy")
    assert copy.read_bytes() == content
    assert storage.local_copy(blob.sha256, copy) == copy  # of an earlier attempt
    assert names() == [storage.key(blob.sha256)]


def test_what_is_lent_is_whole_and_a_damaged_file_is_not_lent(kept: Kept, tmp_path: Path) -> None:
    blob = storage.put(written(tmp_path, b"rows of a day"))
    for _ in range(2):
        lent = storage.lend(blob.sha256, tmp_path / "look" / "part")
        assert lent.read_bytes() == b"rows of a day"
    other = storage.put(written(tmp_path, b"rows of another"))
    kept.spoil(storage.key(other.sha256), b"rows of an other")
    with pytest.raises(Damaged):
        storage.lend(other.sha256, tmp_path / "look" / "other")


def test_equal_files_take_the_space_of_one_and_an_empty_one_is_a_file(
    kept: Kept, tmp_path: Path
) -> None:
    storage.put(written(tmp_path, b"the same", "one"))
    storage.put(written(tmp_path, b"the same", "two"))
    empty = storage.put(written(tmp_path, b"", "none"))
    assert len(names()) == 2
    with storage.open_blob(empty.sha256) as stream:
        assert stream.read() == b""


def test_a_flipped_byte_is_found_and_told(kept: Kept, tmp_path: Path) -> None:
    blob = storage.put(written(tmp_path, b"exactly these weights"))
    kept.spoil(storage.key(blob.sha256), b"exactly those weights")
    with pytest.raises(Damaged, match=f"{blob.sha256[:12]} has changed"):
        storage.open_blob(blob.sha256)
    with pytest.raises(Damaged, match="has changed"):
        storage.local_copy(blob.sha256, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_cut_file_is_found_and_mended_by_who_has_it(kept: Kept, tmp_path: Path) -> None:
    path = written(tmp_path, b"all of it, to the end")
    blob = storage.put(path)
    kept.spoil(storage.key(blob.sha256), b"all of it")
    with pytest.raises(Damaged):
        storage.open_blob(blob.sha256)
    storage.put(path)
    with storage.open_blob(blob.sha256) as stream:
        assert stream.read() == path.read_bytes()


def test_a_missing_file_is_told(kept: Kept, tmp_path: Path) -> None:
    blob = storage.put(written(tmp_path, b"soon gone"))
    kept.take_away(storage.key(blob.sha256))
    with pytest.raises(Damaged, match="is missing"):
        storage.open_blob(blob.sha256)
    with pytest.raises(Damaged, match="is missing"):
        storage.local_copy(blob.sha256, tmp_path / "copy")


def test_many_put_one_content_at_once(kept: Kept, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    begin = threading.Barrier(6)
    told: list[storage.Blob] = []

    def put(number: int) -> None:
        path = written(tmp_path, content, f"writer-{number}")
        begin.wait()
        told.append(storage.put(path))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(told)) == 1
    assert len(told) == 6
    assert names() == [storage.key(told[0].sha256)]
    with storage.open_blob(told[0].sha256) as stream:
        assert stream.read() == content


def test_a_reader_never_meets_half_a_file(kept: Kept, tmp_path: Path) -> None:
    """While one writes and takes away, others find the whole file or none."""
    path = written(tmp_path, os.urandom(400_000))
    blob = storage.Blob(storage.digest(path), 400_000)
    over, told = threading.Event(), set()

    def write() -> None:
        for _ in range(8):
            storage.put(path)
            storage.delete([blob.sha256])
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        for one in storage.listing():
            assert one.bytes == blob.bytes
        try:
            storage.open_blob(blob.sha256).close()
        except Damaged as fault:
            told.add(str(fault).rpartition(" ")[2])
    writer.join()
    assert told <= {"missing."}


def test_rooms_are_apart_and_freed_together(kept: Kept, tmp_path: Path) -> None:
    path = written(tmp_path, b"a checkpoint")
    blob = storage.put(path)
    for room in ("checkpoints/7/1", "checkpoints/7/2", "checkpoints/70/1"):
        storage.put(path, room)
    assert len(names("checkpoints/7")) == 2
    copy = storage.local_copy(blob.sha256, tmp_path / "copy", "checkpoints/7/2")
    assert copy.read_bytes() == b"a checkpoint"
    storage.empty("checkpoints/7")
    assert names("checkpoints") == [f"checkpoints/70/1/{blob.sha256}"]
    assert names() == [storage.key(blob.sha256)]
    storage.delete([blob.sha256])
    assert names() == []


def test_what_is_put_again_counts_as_new(kept: Kept, tmp_path: Path) -> None:
    """So that nothing sweeps it before its new row is written."""
    path = written(tmp_path, b"from last year")
    blob = storage.put(path)
    if kept.bucket is None:
        os.utime(kept.root / storage.key(blob.sha256), (LONG_AGO, LONG_AGO))
    storage.put(path)
    (one,) = storage.listing()
    assert one.changed_at > time.time() - 60


def test_a_file_that_changes_while_it_is_stored_is_not_stored(kept: Kept, tmp_path: Path) -> None:
    if kept.bucket is not None:
        pytest.skip("S3's parts carry their own checksums")
    path = written(tmp_path, b"changing")
    with pytest.raises(Damaged, match="changed while"):
        places.place().write(path, "blobs/aa/x", "0" * 64)
    assert [one for one in (tmp_path / "files").rglob("*") if one.is_file()] == []


def test_a_full_disk_is_a_plain_sentence_and_leaves_no_half_file(
    tmp_path: Path, settings: LazySettings
) -> None:
    """A file system of 64 KiB, where this machine lets one be mounted; else a device that is
    always full."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        settings.MEDIA_ROOT = small
        with pytest.raises(Away, match="disk of the storage is full"):
            storage.put(written(tmp_path, os.urandom(200_000)))
        assert [one for one in small.rglob("*") if one.is_file()] == []
        storage.put(written(tmp_path, b"there is room for this"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_storage_that_does_not_answer_is_a_plain_sentence(
    tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.config import Config

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    options = {
        "bucket_name": "nobody",
        "endpoint_url": f"http://127.0.0.1:{free_port()}",
        "region_name": "us-east-1",
        "client_config": Config(connect_timeout=1, retries={"max_attempts": 1}),
    }
    settings.STORAGES = settings.STORAGES | {
        "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    }
    with pytest.raises(Away, match="nobody does not answer"):
        storage.put(written(tmp_path, b"x"))
    with pytest.raises(Away, match="nobody does not answer"):
        storage.open_blob("0" * 64)


def test_what_a_killed_writer_left_is_removed(kept: Kept, tmp_path: Path) -> None:
    path = written(tmp_path, b"whole")
    blob = storage.put(path)
    if kept.bucket is not None:
        kept.bucket.Object("hub/blobs/aa/half").initiate_multipart_upload()
    else:
        (kept.root / "blobs" / f"{places.UNFINISHED}x").write_bytes(b"ha")
        places.place().drop_unfinished(time.time() - 3600)
        assert len(_unfinished(kept)) == 1  # it may still be written (moto's all are of 2010)
    places.place().drop_unfinished(time.time() + 3600)
    assert _unfinished(kept) == []
    assert names() == [storage.key(blob.sha256)]


def _unfinished(kept: Kept) -> list[Any]:
    if kept.bucket is not None:
        return list(kept.bucket.multipart_uploads.all())
    return list(kept.root.rglob(f"{places.UNFINISHED}*"))


def test_a_bucket_is_read_once_and_its_copy_here_is_bounded_and_verified(
    s3_server: str,
    tmp_path: Path,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = use_s3(s3_server, settings, monkeypatch)
    blobs = [storage.put(written(tmp_path, os.urandom(700_000), str(n))) for n in range(3)]
    cache = settings.DISTILLHUB_HOME / "cache"
    storage.open_blob(blobs[0].sha256).close()
    bucket.delete_objects(Delete={"Objects": [{"Key": f"hub/{storage.key(blobs[0].sha256)}"}]})
    storage.open_blob(blobs[0].sha256).close()  # from the copy
    copy = cache / blobs[1].sha256
    storage.open_blob(blobs[1].sha256).close()
    copy.write_bytes(os.urandom(700_000))
    with storage.open_blob(blobs[1].sha256) as stream:  # the copy was bad, the bucket is not
        assert hashlib.sha256(stream.read()).hexdigest() == blobs[1].sha256
    settings.DISTILLHUB_CACHE_MIB = 1
    os.utime(cache / blobs[0].sha256, (LONG_AGO, LONG_AGO))
    storage.open_blob(blobs[2].sha256).close()
    assert {path.name for path in cache.iterdir()} == {blobs[2].sha256}


STORE_A_LARGE_FILE = """
import sys
from pathlib import Path
import django
django.setup()
from distillhub.lib import storage
path, copy = Path(sys.argv[1]), Path(sys.argv[2])
storage.put(path.parent / "warm")  # connections and their modules


def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before = peak()
blob = storage.put(path)
with storage.open_blob(blob.sha256) as stream:
    while stream.read(1 << 20):
        pass
storage.local_copy(blob.sha256, copy)
print(peak() - before)
"""


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_large_file_is_never_whole_in_memory(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """160 MiB pass through a process whose memory grows by far less."""
    path = tmp_path / "large"
    with path.open("wb") as out:
        out.truncate(160 << 20)
    written(tmp_path, b"warm", "warm")
    env = clean_environment(tmp_path / "home")
    if where == "s3":
        env |= make_bucket(request.getfixturevalue("s3_server"), "large")
    done = subprocess.run(
        [sys.executable, "-c", STORE_A_LARGE_FILE, path, tmp_path / "copy"],
        cwd=ROOT,
        env=env | {"DJANGO_SETTINGS_MODULE": "distillhub.settings"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 << 10, "KiB"
