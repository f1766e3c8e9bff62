"""MLflow's file store: a folder for each experiment, in it one for each run.

0/meta.yaml                         the experiment
0/<run id>/meta.yaml                the run: name, status, times
0/<run id>/metrics/train/loss       a line a point: time in ms, value, step
0/<run id>/params/lr  tags/mlflow.note.content
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import yaml

from training.trackers import limits, mlflow_words
from training.trackers.found import FoundRun, Unreadable, Writer
from training.trackers.trees import Tree

META = "meta.yaml"
PARTS = ("metrics", "params", "tags")


def fits(tree: Tree) -> bool:
    return any(name == META or name.endswith(f"/{META}") for name in tree.sizes)


def read(tree: Tree, out: Writer) -> Iterator[FoundRun]:
    folders = sorted(name[: -len(META)] for name in tree.sizes if _is_meta(name))
    known = set(folders)
    files: dict[str, list[str]] = defaultdict(list)
    artifacts = 0
    for name in tree.sizes:
        for place, part in enumerate(parts := name.split("/")):
            folder = "".join(f"{one}/" for one in parts[:place])
            if folder in known and part in PARTS and place < len(parts) - 1:
                files[folder].append(name)
                break
        artifacts += "/artifacts/" in name
    if artifacts:
        out.leave_out(f"Files of logged models ({artifacts:,}).")
    experiments: dict[str, str] = {}
    metas = {folder: _meta(tree, folder) for folder in folders}
    for meta in metas.values():
        if "run_id" not in meta and "run_uuid" not in meta and "name" in meta:
            experiments[str(meta.get("experiment_id", ""))] = str(meta["name"])
    deleted = 0
    for folder, meta in metas.items():
        key = str(meta.get("run_id") or meta.get("run_uuid") or "")
        if not key:
            continue
        if meta.get("lifecycle_stage") == "deleted" or "/.trash/" in f"/{folder}":
            deleted += 1
            continue
        yield _run(tree, folder, key, meta, files[folder], experiments)
    if deleted:
        out.leave_out(f"Deleted runs ({deleted:,}).")


def _is_meta(name: str) -> bool:
    return (name == META or name.endswith(f"/{META}")) and "/artifacts/" not in name


def _meta(tree: Tree, folder: str) -> dict[str, Any]:
    name = f"{folder}{META}"
    try:
        found = yaml.load(tree.small(name), Loader=_Plain)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable("not_yaml", f"{name} is no YAML: {str(error)[:200]}") from None
    return found if isinstance(found, dict) else {}


class _Plain(yaml.SafeLoader):
    """Without aliases: nobody needs them here, and they can grow beyond all bounds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("It repeats parts of itself.")
        return super().compose_node(parent, index)


def _run(
    tree: Tree,
    folder: str,
    key: str,
    meta: dict[str, Any],
    files: list[str],
    experiments: dict[str, str],
) -> FoundRun:
    status = meta.get("status")
    experiment = str(meta.get("experiment_id", ""))
    run = mlflow_words.begin(
        key,
        name=str(meta.get("run_name") or meta.get("name") or ""),
        status=mlflow_words.NUMBERS.get(status, "") if type(status) is int else str(status),
        started_ms=_number(meta.get("start_time")),
        ended_ms=_number(meta.get("end_time")),
        experiment=experiments.get(experiment, experiment),
        user=str(meta.get("user_id") or ""),
    )
    tags: dict[str, str] = {}
    for file in sorted(files):
        part, _, name = file.removeprefix(folder).partition("/")
        if part == "metrics":
            _points(tree, file, name, run)
        elif tree.sizes[file] > limits.SMALL:
            run.leave_out(f"{part}/{name}: larger than {limits.SMALL >> 10:,} KiB.")
        else:
            text = tree.small(file).decode("utf-8", "replace")
            if part == "params":
                run.params[name] = mlflow_words.typed(text)
            else:
                tags[name] = text
    mlflow_words.tag(run, tags)
    return run


def _points(tree: Tree, file: str, name: str, run: FoundRun) -> None:
    wrong = 0
    with tree.open(file) as lines:
        while line := lines.readline(limits.LINE):
            words = line.split()
            try:  # time, value, step; since 3.x perhaps a model and a dataset
                run.measure(
                    name,
                    int(words[2]) if len(words) > 2 else 0,
                    float(words[1]),
                    int(words[0]) / 1000,
                )
            except (ValueError, IndexError, OverflowError):
                wrong += bool(words)
            if len(run.series.get(name, ())) > limits.POINTS:
                raise Unreadable("too_many_points", f"{name} has more points than may be.")
    if wrong:
        run.leave_out(f"Lines of metrics/{name} that are no points ({wrong:,}).")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
