"""`python -m training.trackers read FOLDER`: config.json and a file in, result.json out."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.engine import events, journal
from training.trackers import reading
from training.trackers.found import FoundRun, Unreadable, Writer

EVERY = 20  # runs between two words of how far it is


def main(arguments: list[str]) -> None:
    verb, folder = arguments[0], Path(arguments[1])
    if verb != "read":
        raise SystemExit(f"There is no {verb}.")
    asked = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        result = _read(folder, asked)
    except Unreadable as fault:
        result = {"failed": {"code": fault.code, "sentence": fault.sentence}}
    except MemoryError:
        sentence = "It needs more memory than reading a file may take. Import a part of it."
        result = {"failed": {"code": "out_of_memory", "sentence": sentence}}
    part = folder / "result.json.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(folder / "result.json")


def _read(folder: Path, asked: dict[str, Any]) -> dict[str, object]:
    with (
        journal.Journal(folder / "journal.jsonl") as told,
        Writer(folder / "found", keeps=_kept(asked)) as out,
    ):
        told.write(events.Stage("reading"))
        source = folder / "source"
        for run in reading.read(source, asked["file"], asked["name"], out, folder):
            out.add(run)
            if out.runs % EVERY == 0:
                told.write(events.Logged(f"{out.runs:,} runs, {out.points:,} points"))
        return {"runs": out.runs, "points": out.points, "left_out": out.left_out}


def _kept(asked: dict[str, Any]) -> Callable[[FoundRun], bool]:
    """Of which runs files are kept: none while it only looks, and else of those that are chosen."""
    if not asked.get("takes"):
        return lambda run: False
    chosen = None if asked.get("chosen") is None else set(asked["chosen"])
    return lambda run: chosen is None or run.key in chosen


if __name__ == "__main__":
    main(sys.argv[1:])
