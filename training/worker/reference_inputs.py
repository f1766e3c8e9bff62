"""What a monitor's reference is fitted from, placed in the folder of a look (reference_rows.py)."""

from pathlib import Path
from typing import Any

from training.models import Monitor
from training.worker import folders
from training.worker.work import Failed

JSON = dict[str, Any]

#: What inputs of a task are, as engine/watching calls it.
READS = {"text": "text", "image": "image", "audio": "audio", "tabular": "columns"}
GONE = "The rows that it is compared with are gone. Choose another reference."


def reads(monitor: Monitor) -> str:
    """What its inputs are: "text", "columns", "image" or "audio"."""
    stem = monitor.task.partition("-")[0]
    if stem == "token":
        return "text"
    return READS.get(stem, "text")


def place(monitor: Monitor, folder: Path) -> JSON:
    """`{"dataset", "split"}` or `{"traffic"}`. Raises storage.Damaged, and Failed where there is
    neither any more."""
    if monitor.traffic_from is not None and monitor.traffic_until is not None:
        since, until = monitor.traffic_from, monitor.traffic_until
        return {"traffic": {"from": since.timestamp(), "until": until.timestamp()}}
    version = monitor.dataset_version
    if version is None:
        raise Failed("gone", GONE)
    dataset = folders.place_dataset(version, folder)
    if monitor.version is None:  # served elsewhere: what it says may stand in columns
        dataset["soft"] = version.soft_labels
    return {"dataset": dataset, "split": monitor.split}
