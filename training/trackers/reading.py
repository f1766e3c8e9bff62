"""One source, whatever it is: recognised, and read run by run."""

from collections.abc import Iterator
from pathlib import Path

from training.trackers import (
    event_files,
    found,
    mlflow_database,
    mlflow_folder,
    run_files,
    tables,
    trees,
    wandb_files,
)
from training.trackers.found import FoundRun, Unreadable, Writer

#: How each tracker is called, by the first part of its runs' keys.
TRACKERS = {
    "mlflow": "MLflow",
    "tensorboard": "TensorBoard",
    "wandb": "Weights & Biases",
    "table": "a table",
}


def read(path: Path, name: str, source: str, out: Writer, scratch: Path) -> Iterator[FoundRun]:
    """The runs of a file called `name`; `source`, if people said it, is what a run is called that
    has no name of its own. Raises Unreadable."""
    with trees.opened(path, name, scratch) as tree:
        count = 0
        files = run_files.apart(tree)
        for run in _found(tree, name, source, out, scratch):
            count += 1
            tracker, _, identity = run.key.partition(":")
            if tracker == "mlflow":
                run_files.lay(run, files.get(identity, []))
            yield run
        if not count:
            raise Unreadable("no_runs", f"{name} holds no run. {LOOKS}")


LOOKS = (
    "Send a table of metrics (CSV, TSV, JSON Lines), or an archive (zip, tar, tar.gz) with an "
    "mlruns folder or mlflow.db, with event files of TensorBoard, or with offline runs of Weights "
    "& Biases."
)


def _found(
    tree: trees.Tree, name: str, source: str, out: Writer, scratch: Path
) -> Iterator[FoundRun]:
    known = False
    if wandb_files.fits(tree):
        known = True
        yield from wandb_files.read(tree, out)
    if event_files.fits(tree):
        known = True
        yield from event_files.read(tree, out, source or name.partition(".")[0])
    if mlflow_database.fits(tree):
        known = True
        yield from mlflow_database.read(tree, out, scratch)
    if not known and mlflow_folder.fits(tree):
        known = True
        yield from mlflow_folder.read(tree, out)
    if not known and tables.fits(tree):
        yield from tables.read(tree, out, source)


def tracker_of(key: str) -> str:
    return TRACKERS.get(key.partition(":")[0], "")


__all__ = ["LOOKS", "TRACKERS", "found", "read", "tracker_of"]
