"""Files that MLflow keeps beside runs, `<run id>/artifacts/plots/a.png`: taken as they are, and
read by nobody."""

import re
from collections import defaultdict
from functools import partial

from training.trackers import limits
from training.trackers.found import FoundFile, FoundRun
from training.trackers.trees import Tree

PLACE = re.compile(r"(?:.*/)?([0-9a-f]{32})/artifacts/(.+)", re.ASCII | re.DOTALL)


def apart(tree: Tree) -> dict[str, list[FoundFile]]:
    """Of each run its files, by its id. The tree names them no more, so that a database or an event
    file among them is taken for no run."""
    found: dict[str, list[FoundFile]] = defaultdict(list)
    for name in tree.names:
        if match := PLACE.fullmatch(name):
            size = tree.sizes.pop(name)
            found[match[1]].append(FoundFile(match[2], size, partial(tree.open, name)))
    return found


def lay(run: FoundRun, files: list[FoundFile]) -> None:
    """Give a run its files, as far as they may be many, large, and called so; the rest is told."""
    for file in sorted(files, key=lambda one: one.path):
        if not is_fit(file.path):
            run.leave_out(f"The file {file.path[:100]}: it has no name that can be kept.")
        elif file.size > limits.FILE:
            run.leave_out(f"The file {file.path[:100]}: larger than {limits.FILE >> 20:,} MiB.")
        elif len(run.files) >= limits.FILES_OF_RUN:
            run.leave_out(f"Files beyond the first {limits.FILES_OF_RUN:,}.")
            return
        else:
            run.files.append(file)


def is_fit(path: str) -> bool:
    """A path that leads to one place below its run's, on any disk."""
    parts = path.split("/")
    is_odd = "\\" in path or any(not letter.isprintable() for letter in path)
    is_short = len(path) <= limits.LONGEST_PATH
    return is_short and not is_odd and not any(part.strip() in ("", ".", "..") for part in parts)
