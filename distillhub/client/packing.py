"""A folder of another tracker as one file: what a hub reads of it, and nothing else in it."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

TRACKED = (".wandb", ".db", ".sqlite", ".sqlite3")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
STATE = "trainer_state.json"
MLFLOW = ("metrics", "params", "tags")  # folders of a run


class NothingFound(LookupError):
    """The folder holds nothing that a hub reads."""


def pack(folder: Path, target: Path) -> int:
    """Write a zip of the files with runs, or where there are none, of its tables; how many. Links
    are not followed. Raises NothingFound."""
    known, tables = [], []
    for path in _files(folder):
        name = path.relative_to(folder)
        if _is_tracked(name):
            known.append(path)
        elif path.suffix.lower() in TABLES or path.name == STATE:
            tables.append(path)
    chosen = known or tables
    if not chosen:
        raise NothingFound(
            f"{folder} holds no runs: no mlruns or mlflow.db, no event files of TensorBoard, no "
            "offline runs of W&B, no tables."
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in chosen:
            archive.write(path, path.relative_to(folder).as_posix())
    return len(chosen)


def _files(folder: Path) -> Iterator[Path]:
    for home, folders, files in os.walk(folder):
        folders[:] = sorted(
            one for one in folders if one != "artifacts" and not (Path(home) / one).is_symlink()
        )
        for name in sorted(files):
            path = Path(home) / name
            if not path.is_symlink() and path.is_file():
                yield path


def _is_tracked(name: Path) -> bool:
    return (
        name.suffix.lower() in TRACKED
        or "tfevents" in name.name
        or name.name == "meta.yaml"
        or any(part in MLFLOW for part in name.parts[:-1])
    )
