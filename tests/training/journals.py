"""Journals as the engine writes them, without an engine."""

import json
from pathlib import Path
from typing import Any


def write(folder: Path, *events: dict[str, Any], torn: str = "") -> Path:
    """Append events to a job folder's journal."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "journal.jsonl"
    with path.open("a") as file:
        for event in events:
            file.write(json.dumps({"seq": 1, "at": 1000.0, **event}) + "\n")
        file.write(torn)
    return path


def measured(step: int, **values: Any) -> dict[str, Any]:
    return {"type": "measured", "step": step, "epoch": 0.1, "values": values}
