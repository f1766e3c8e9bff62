"""A folder of another tracker as one file: what a hub reads of it, and nothing else in it."""

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

TRACKED = (".wandb", ".db", ".sqlite", ".sqlite3")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
STATE = "trainer_state.json"
BESIDE = "artifacts"  # the folder of files beside a run of MLflow
RUN = re.compile(r"[0-9a-f]{32}", re.ASCII)  # how its own folder is called
MLFLOW = ("metrics", "params", "tags")  # folders of a run


class NothingFound(LookupError):
    """The folder holds nothing that a hub reads."""


def pack(folder: Path, target: Path, *, files: bool = False) -> int:
    """Write a zip of the files with runs, or where there are none, of its tables; how many. With
    `files` those that stand beside runs of MLflow are in it, too. Links are not followed. Raises
    NothingFound."""
    known, tables, beside = [], [], []
    for path in _files(folder):
        name = path.relative_to(folder)
        if BESIDE in name.parts:
            beside += [path] if files else []
        elif _is_tracked(name):
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
        for path in [*chosen, *beside]:
            archive.write(path, path.relative_to(folder).as_posix())
    return len(chosen)


def _files(folder: Path) -> Iterator[Path]:
    for home, folders, files in os.walk(folder):
        here = Path(home)
        folders[:] = sorted(
            one
            for one in folders
            if not (here / one).is_symlink() and (one != BESIDE or RUN.fullmatch(here.name))
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
