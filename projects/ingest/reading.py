"""How an upload is read: first as guessed, then as corrected, always complete and checked.

    {"files": [{"name", "sha256", "bytes", "split": null|train|validation|test, "dialect": {...}}],
     "columns": {"text", "label", "split", "ignored": [...]}, "others": [...],
     "ragged": "refuse"|"skip", "splits": {"train": 0.8, ...}, "seed": 0}

This is what a version keeps, so that everybody can see how its rows came about.
"""

from collections.abc import Callable
from typing import IO, Any

from distillhub.lib.errors import Invalid
from projects.ingest import splits
from projects.ingest.formats import SPLITS, TRAIN, BadFile, Format, Look

Opener = Callable[[str], IO[bytes]]  # from a file's sha256 to its bytes

ROLES = ("text", "label", "split")
KEYS = {"files", "columns", "ragged", "splits", "seed"}
DIALECT = ("delimiter", "encoding", "quoting", "header")
HIGHEST_SEED = 2**32 - 1


def first(form: Format, files: list[dict[str, Any]], opened: Opener) -> dict[str, Any]:
    """The guessed reading of newly uploaded files. Raises BadFile."""
    for file in files:
        with opened(file["sha256"]) as handle:
            file["dialect"] = form.sniff(handle, file["name"])
    guessed = {"files": files, "ragged": "refuse", "splits": dict(splits.DEFAULT), "seed": 0}
    return guessed | _columns(form, _look(form, files[0], opened), {}, strict=False)


def corrected(
    form: Format,
    reading: dict[str, Any],
    changes: dict[str, Any],
    opened: Opener,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """A reading with changes applied. `changes` holds any of KEYS, or a key of a dialect, which
    then applies to every file.

    A role that the changes do not name is guessed anew. Raises Invalid with `fields`; without
    `strict` columns that are no longer there are guessed instead.
    """
    unknown = sorted(changes.keys() - KEYS - set(DIALECT))
    if unknown:
        detail = f"There is no setting called {unknown[0]}."
        raise Invalid(detail, fields={f"reading.{name}": [detail] for name in unknown})
    everywhere = {name: changes[name] for name in DIALECT if name in changes}
    given = changes.get("files", [])
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise _wrong("files", "Send a list of objects.")
    files = []
    for index, file in enumerate(reading["files"]):
        asked = given[index] if index < len(given) else {}
        split = asked.get("split", file.get("split")) or None
        if split is not None and split not in SPLITS:
            raise _wrong("files", "A file's split is train, validation, test or nothing.")
        of_file = {name: asked[name] for name in DIALECT if name in asked}
        dialect = form.check_dialect(file["dialect"] | everywhere | of_file)
        files.append(file | {"split": split, "dialect": dialect})
    ragged = changes.get("ragged", reading["ragged"])
    if ragged not in {"refuse", "skip"}:
        raise _wrong("ragged", "Choose refuse or skip.")
    result = {
        "files": files,
        "ragged": ragged,
        "splits": _proportions(changes.get("splits", reading["splits"])),
        "seed": _seed(changes.get("seed", reading["seed"])),
    }
    columns = changes.get("columns", reading["columns"])
    look = _look(form, files[0], opened)
    return result | _columns(form, look, columns, strict=strict and "columns" in changes)


def preview(form: Format, reading: dict[str, Any], opened: Opener) -> dict[str, Any]:
    """What a person is shown before confirming: the beginning of every file, read so.

    {"format", "label", "input", "task", "reading", "files": [{"name", "bytes", "split", "dialect",
    "columns", "rows", "lines", "seen", "complete", "estimated", "pictures", "splits"}],
    "labels": {label: rows}, "rows", "complete", "problems": [{"severity", "detail", "line"?}]}
    """
    shown: list[dict[str, Any]] = []
    labels: dict[str, int] = {}
    problems: list[dict[str, Any]] = []
    several = len(reading["files"]) > 1
    for file in reading["files"]:
        with opened(file["sha256"]) as handle:
            look = form.look(handle, file["name"], file["dialect"])
        for label, rows in form.label_counts(reading["columns"], look).items():
            labels[label] = labels.get(label, 0) + rows
        prefix = f"{file['name']}: " if several else ""
        for one in look.problems:
            skipped = one.get("code") == "ragged_line" and reading["ragged"] == "skip"
            severity = "warning" if skipped else one["severity"]
            problems.append(one | {"severity": severity, "detail": prefix + one["detail"]})
        problems += _absent(file["name"], look, reading) if several else []
        shown.append(
            {
                "name": file["name"],
                "bytes": file["bytes"],
                "split": file["split"],
                "dialect": file["dialect"],
                "columns": look.columns,
                "rows": look.rows,
                "lines": look.lines,
                "seen": look.seen,
                "complete": look.complete,
                "estimated": look.estimated,
                "pictures": look.pictures,
                "splits": look.splits,
            }
        )
    return {
        "format": form.key,
        "label": form.label,
        "input": form.input,
        "task": form.tasks[0],
        "reading": reading,
        "files": shown,
        "labels": dict(sorted(labels.items(), key=lambda item: -item[1])),
        "rows": sum(one["estimated"] for one in shown),
        "complete": all(one["complete"] for one in shown),
        "problems": problems + _doubts(form, reading, labels, shown),
    }


def check_usable(form: Format, reading: dict[str, Any], opened: Opener) -> None:
    """Raises BadFile when the beginning of a file already shows that it cannot be read so, and
    Invalid when a role that the task needs is not given to a column."""
    shown = preview(form, reading, opened)
    for problem in shown["problems"]:
        if problem["severity"] == "error" and "field" not in problem:
            raise BadFile(problem["detail"], line=problem.get("line"))
    wrong = {
        problem["field"]: [problem["detail"]] for problem in shown["problems"] if "field" in problem
    }
    if wrong:
        raise Invalid(next(iter(wrong.values()))[0], fields=wrong)


def _look(form: Format, file: dict[str, Any], opened: Opener) -> Look:
    """What is needed to give roles to columns; of formats without any, nothing."""
    if not form.has_columns:
        return Look()
    with opened(file["sha256"]) as handle:
        return form.look(handle, file["name"], file["dialect"])


def _columns(
    form: Format, look: Look, asked: Any, *, strict: bool
) -> dict[str, dict[str, Any] | list[str]]:
    """{"columns", "others"}: what was asked for, and guesses where nothing was."""
    if not look.columns:
        return {"columns": {}, "others": []}
    if not isinstance(asked, dict):
        raise _wrong("columns", 'Send an object such as {"text": "query", "label": "category"}.')
    unknown = sorted(asked.keys() - set(ROLES) - {"ignored"})
    if unknown:
        roles = ", ".join((*ROLES, "ignored"))
        raise _wrong("columns", f"{unknown[0]} is no role of a column; the roles are {roles}.")
    names = [column["name"] for column in look.columns]
    ignored = asked.get("ignored")
    if ignored is not None and not isinstance(ignored, list):
        raise _wrong("columns.ignored", "Send a list of columns.")
    used: dict[str, str] = {}
    columns: dict[str, Any] = {}
    for role in ROLES:
        name = asked.get(role)
        if name is not None and name not in names:
            if strict:
                has = ", ".join(names[:20])
                raise _wrong(f"columns.{role}", f"There is no column {name!r}; there are {has}.")
            continue
        if name in used:
            raise _wrong(f"columns.{role}", f"{name} is already the {used[name]}.")
        if role in asked:
            columns[role] = name
            if name is not None:
                used[name] = role
    guessed = form.guess_columns(look)
    for role in ROLES:
        if role not in columns:
            columns[role] = guessed[role] if guessed[role] not in used else None
            if columns[role] is not None:
                used[columns[role]] = role
    left = [name for name in names if name not in used]
    wanted = guessed["ignored"] if ignored is None else ignored
    columns["ignored"] = [name for name in left if name in wanted]
    return {
        "columns": columns,
        "others": [name for name in left if name not in columns["ignored"]],
    }


def _proportions(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not value or value.keys() - set(SPLITS):
        raise _wrong(
            "splits", 'Send shares such as {"train": 0.8, "validation": 0.1, "test": 0.1}.'
        )
    shares = list(value.values())
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in shares):
        raise _wrong("splits", "The shares must be numbers.")
    if not all(0 <= one <= 1 for one in shares) or abs(sum(shares) - 1) > 0.001:
        raise _wrong("splits", "The shares must lie between 0 and 1, and make 1 together.")
    if not value.get(TRAIN):
        raise _wrong("splits", "Something must be left to train on.")
    return {name: float(value.get(name, 0.0)) for name in SPLITS}


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_SEED:
        raise _wrong("seed", f"The seed must be a whole number from 0 to {HIGHEST_SEED}.")
    return value


def _absent(file: str, look: Look, reading: dict[str, Any]) -> list[dict[str, Any]]:
    """Problems with a file of several that lacks a column which another file has."""
    names = {column["name"] for column in look.columns}
    if not look.columns:
        return []
    return [
        {"severity": "error", "detail": f"{file} has no column {column!r} for the {role}."}
        for role, column in reading["columns"].items()
        if role in ROLES and column is not None and column not in names
    ]


def _doubts(
    form: Format, reading: dict[str, Any], labels: dict[str, int], files: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What looks odd about the mapping as a whole."""
    seen = sum(one["seen"] for one in files)
    columns = reading["columns"]
    doubts: list[tuple[str, str]] = []
    absent = []
    if form.input == "text" and seen:
        absent = [role for role in ("text", "label") if not columns.get(role)]
    if seen and len(labels) == 1:
        doubts.append(("warning", f"The only label seen is {next(iter(labels))!r}."))
    if seen >= 50 and len(labels) > seen / 2:
        doubts.append(
            ("warning", f"{len(labels)} different labels in {seen} rows: is this the right column?")
        )
    words = {"text": "the input text", "label": "the label"}
    return [
        {
            "severity": "error",
            "field": f"columns.{role}",
            "detail": f"Choose the column that holds {words[role]}.",
        }
        for role in absent
    ] + [{"severity": severity, "detail": detail} for severity, detail in doubts]


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={f"reading.{field}": [sentence]})
