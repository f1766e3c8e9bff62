"""How an upload is read: first as guessed, then as corrected, always complete and checked.

    {"files": [{"name", "sha256", "bytes", "split": null|train|validation|test, "dialect": {...}}],
     "task": "text-classification", "problem": single_label|multi_label|regression,
     "separator": "|" (of several labels in one cell),
     "tag_names": ["O", "B-PER", ...] (of words' tags that are numbers),
     "labels": [names that rows may come to have] (where they are told beforehand),
     "columns": {"text", "label", "split", "ignored": [...]} or, of a table that is learned from,
                {"label", "split", "features": {name: numeric|categorical}, "ignored": [...]};
                also "id", "group", "weight" and "soft_labels": {label: column},
     "feature_order": [names of features as the file has them: PostgreSQL keeps none of objects],
     "others": [...], "ragged": "refuse"|"skip", "splits": {"train": 0.8, ...}, "seed": 0,
     "hub": {...}, "classes": {column: [names of numbered classes]} (of what hub.py fetched)}

This is what a version keeps, so that everybody can see how its rows came about.
"""

from collections.abc import Callable
from typing import IO, Any

from distillhub.lib.errors import Invalid
from projects.ingest import compressed, splits, words
from projects.ingest.formats import (
    CATEGORICAL,
    MOST_LABEL,
    MOST_LABELS,
    MULTI,
    NUMERIC,
    REGRESSION,
    SINGLE,
    SPLITS,
    TABLE_TASK,
    TEST,
    TOKENS_TASK,
    TRAIN,
    UNLABELLED,
    BadFile,
    Format,
    Look,
    Plan,
)

Opener = Callable[[str], IO[bytes]]  # from a file's sha256 to its bytes

KEYS = {
    *("files", "columns", "ragged", "splits", "seed", "task", "problem", "separator"),
    *("tag_names", "labels"),
}
FETCHED = ("hub", "classes")  # where a reading of fetched files says where they come from
BESIDE = ("id", "group", "weight")  # roles of columns that are kept, under their own names
TABLES = ("layout", "sheet", "at")  # which table of a file is read: each has columns of its own
DIALECT = ("delimiter", "encoding", "quoting", "header", *TABLES)
NO_LABEL = (
    "No column is the label: a teacher labels these rows later, and then they can be learned from."
)
SKIPPED = ("ragged_line", "unreadable_row")  # if that was asked for
HIGHEST_SEED = 2**32 - 1
MOST_SEPARATOR = 10  # characters


def first(
    form: Format,
    files: list[dict[str, Any]],
    opened: Opener,
    *,
    task: str = "",
    problem: str = "",
) -> dict[str, Any]:
    """The guessed reading of newly uploaded files; `task` and `problem` are guessed, too, unless
    given. Raises BadFile."""
    for file in files:
        with opened(file["sha256"]) as handle:
            file["dialect"] = form.sniff(compressed.opened(handle), file["name"])
    look = _look(form, files[0], opened)
    task = task if task in form.tasks else form.guess_task(look)
    guessed: dict[str, Any] = {
        "files": files,
        "task": task,
        "ragged": "refuse",
        "splits": dict(splits.DEFAULT),
        "seed": 0,
    }
    guessed |= _columns(form, look, {}, task, strict=False)
    return guessed | _problem(form, look, guessed["columns"], {"problem": problem or None}, task)


def roles_of(form: Format, task: str) -> dict[str, bool]:
    """Roles that single columns have, and whether one must have it."""
    return form.roles(task) | (dict.fromkeys(form.beside, False) if form.has_columns else {})


def _is_another(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    """Whether another table of a file is read than before."""
    return any(
        one["dialect"].get(name) != other["dialect"].get(name)
        for one, other in zip(before, after, strict=True)
        for name in TABLES
    )


def plan_of(reading: dict[str, Any]) -> Plan:
    """Readings of before there were tasks and problems are of texts or images with one label."""
    columns = reading.get("columns", {})
    if features := columns.get("features"):
        order = [name for name in reading.get("feature_order", []) if name in features]
        columns = columns | {"features": {name: features[name] for name in order} | features}
    return Plan(
        columns=columns,
        others=tuple(reading.get("others", [])),
        ragged=reading.get("ragged", "refuse"),
        task=reading.get("task", ""),
        problem=reading.get("problem", SINGLE),
        separator=reading.get("separator", ""),
        tag_names=tuple(reading.get("tag_names") or ()),
        classes=reading.get("classes") or {},
        labels=tuple(reading.get("labels") or ()),
        shares=reading.get("splits") or dict(splits.DEFAULT),
        has_test=any(file.get("split") == TEST for file in reading.get("files", [])),
    )


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
    look = _look(form, files[0], opened)
    task = changes.get("task") or reading.get("task") or form.tasks[0]
    if task not in form.tasks:
        detail = f"{form.label} is for {' or '.join(form.tasks)}, not for {task}."
        raise Invalid(detail, fields={"task": [detail]})
    result = {
        "files": files,
        "task": task,
        "ragged": ragged,
        "splits": _proportions(changes.get("splits", reading["splits"])),
        "seed": _seed(changes.get("seed", reading["seed"])),
        **{name: reading[name] for name in FETCHED if name in reading},
    }
    before = {} if _is_another(reading["files"], files) else reading["columns"]
    columns = changes.get("columns", before)
    if task != reading.get("task", task) and "columns" not in changes:
        kept = {"label", "split"} & form.roles(task).keys()
        columns = {name: columns.get(name) for name in columns if name in kept}
    result |= _columns(form, look, columns, task, strict=strict and "columns" in changes)
    asked = {name: changes[name] for name in ("problem", "separator") if name in changes}
    if changes.get("separator") and MULTI in form.problems:
        asked = {"problem": MULTI} | asked
    if not ({"columns", "task"} & changes.keys()):
        asked = {name: reading.get(name) for name in ("problem", "separator")} | asked
    if task == TOKENS_TASK:
        result["tag_names"] = _tag_names(changes.get("tag_names", reading.get("tag_names") or []))
    result |= _problem(form, look, result["columns"], asked, task)
    if result["columns"].get("soft_labels") and result["problem"] != SINGLE:
        raise _wrong("columns.soft_labels", "Only one of several classes has probabilities.")
    if told := _labels(changes.get("labels", reading.get("labels") or []), result):
        result["labels"] = told
    return result


def preview(form: Format, reading: dict[str, Any], opened: Opener) -> dict[str, Any]:
    """What a person is shown before confirming: the beginning of every file, read so.

    {"format", "label", "has_columns", "task", "tasks", "problem", "kinds" (of problems), "reading",
    "files": [{"name", "bytes", "split", "dialect", "columns", "rows", "lines", "seen", "complete",
    "estimated", "pictures", "sounds", "sentences", "splits"}], "labels": {label: rows}, "rows",
    "complete", "problems": [{"severity", "detail", "line"?}]}
    """
    reading = {"task": form.tasks[0], "problem": SINGLE, "separator": ""} | reading
    shown: list[dict[str, Any]] = []
    labels: dict[str, int] = {}
    problems: list[dict[str, Any]] = []
    several = len(reading["files"]) > 1
    for file in reading["files"]:
        with opened(file["sha256"]) as handle:
            look = form.look(compressed.opened(handle), file["name"], file["dialect"])
        for label, rows in form.label_counts(reading, look).items():
            labels[label] = labels.get(label, 0) + rows
        prefix = f"{file['name']}: " if several else ""
        for one in look.problems:
            skipped = one.get("code") in SKIPPED and reading["ragged"] == "skip"
            severity = "warning" if skipped else one["severity"]
            problems.append(one | {"severity": severity, "detail": prefix + one["detail"]})
        problems += _absent(form, file["name"], look, reading) if several else []
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
                "sounds": look.sounds,
                "sentences": _tagged(look, reading),
                "splits": look.splits,
            }
        )
    return {
        "format": form.key,
        "label": form.label,
        "has_columns": form.has_columns,
        "task": reading["task"],
        "tasks": form.tasks,
        "problem": reading["problem"],
        "kinds": form.problems,
        "reading": reading,
        "files": shown,
        "labels": dict(sorted(labels.items(), key=lambda item: -item[1])),
        "rows": sum(one["estimated"] for one in shown),
        "complete": all(one["complete"] for one in shown),
        "problems": problems + _doubts(form, reading, labels, shown),
    }


def _tagged(look: Look, reading: dict[str, Any]) -> list[dict[str, Any]]:
    """The first rows with their words and tags, where words have tags."""
    if reading["task"] != TOKENS_TASK:
        return []
    names = [column["name"] for column in look.columns]
    return words.samples(names, look.rows, look.lines, reading)


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
        return form.look(compressed.opened(handle), file["name"], file["dialect"])


def _columns(form: Format, look: Look, asked: Any, task: str, *, strict: bool) -> dict[str, Any]:
    """{"columns", "others"} and, of a table, "feature_order": what was asked for, and guesses where
    nothing was."""
    if not look.columns:
        return {"columns": {}, "others": []}
    if not isinstance(asked, dict):
        raise _wrong("columns", 'Send an object such as {"text": "query", "label": "category"}.')
    asked = {name: value if value != "" else None for name, value in asked.items()}
    roles = tuple(roles_of(form, task))
    lists = ("features", "ignored") if task == TABLE_TASK else ("ignored",)
    if {"label", "weight"} <= set(roles) and task != TOKENS_TASK:
        lists = (*lists, "soft_labels")
    unknown = sorted(asked.keys() - set(roles) - set(lists))
    if unknown:
        known = ", ".join((*roles, *lists))
        raise _wrong("columns", f"{unknown[0]} is no role of a column; the roles are {known}.")
    names = [column["name"] for column in look.columns]
    ignored = asked.get("ignored")
    if ignored is not None and not isinstance(ignored, list):
        raise _wrong("columns.ignored", "Send a list of columns.")
    used: dict[str, str] = {}
    columns: dict[str, Any] = {}
    for role in roles:
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
    guessed = form.guess_columns(look, task)
    for role in roles:
        if role not in columns:
            name = guessed.get(role)
            columns[role] = name if name not in used else None
            if columns[role] is not None:
                used[columns[role]] = role
    left = [name for name in names if name not in used or used[name] in BESIDE]
    wanted = guessed["ignored"] if ignored is None else ignored
    soft = _soft(look, asked.get("soft_labels"), used, strict=strict)
    if soft:
        columns["soft_labels"] = soft
        used |= dict.fromkeys(soft.values(), "soft_labels")
        wanted = [name for name in wanted if name not in soft.values()]
    if task == TABLE_TASK:
        likely = guessed["features"]
        if columns.get("label") is None and guessed.get("label"):  # then it is none of them
            likely = likely | _features(look, [guessed["label"]], {}, strict=False)
        features = _features(look, asked.get("features"), likely, strict=strict)
        if asked.get("features") is None:
            features = {name: kind for name, kind in features.items() if name not in wanted}
        columns["features"] = {name: kind for name, kind in features.items() if name not in used}
        left = [name for name in left if name not in columns["features"]]
    columns["ignored"] = [name for name in left if name in wanted and name not in used]
    order = {"feature_order": list(columns["features"])} if "features" in columns else {}
    return order | {
        "columns": columns,
        "others": [name for name in left if name not in columns["ignored"]],
    }


def _soft(look: Look, asked: Any, used: dict[str, str], *, strict: bool) -> dict[str, str]:
    """{label: column of its probability}; also told by what stands before the labels in the names
    of the columns, such as p_."""
    if not asked:
        return {}
    names = [column["name"] for column in look.columns]
    if isinstance(asked, str):
        asked = prefixed(look.columns).get(asked) or {asked: f"{asked}…"}
    if not isinstance(asked, dict) or not all(isinstance(one, str) for one in asked.values()):
        example = '{"spam": "p_spam", "ham": "p_ham"}'
        raise _wrong("columns.soft_labels", f"Send an object such as {example}, or p_.")
    absent = next((one for one in asked.values() if one not in names or one in used), None)
    if absent is not None:
        if not strict:
            return {}
        what = f"is already the {used[absent]}" if absent in used else "is not there"
        raise _wrong("columns.soft_labels", f"The column {absent[:50]!r} {what}.")
    if len(asked) < 2 or len(set(asked.values())) < len(asked):
        raise _wrong("columns.soft_labels", "Give each of several labels a column of its own.")
    if any(not one.strip() or len(one) > MOST_LABEL for one in asked):
        raise _wrong("columns.soft_labels", f"A label has at most {MOST_LABEL} characters.")
    return asked


def prefixed(columns: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """{what stands before labels: {label: column}} of columns of numbers whose names begin alike:
    p_spam and p_ham."""
    found: dict[str, dict[str, str]] = {}
    for column in columns:
        before, mark, label = column["name"].partition("_")
        if mark and label and column["numeric"]:
            found.setdefault(before + mark, {})[label] = column["name"]
    return {before: labels for before, labels in found.items() if len(labels) > 1}


def _labels(value: Any, reading: dict[str, Any]) -> list[str]:
    """Classes that are told beforehand; also as one text, one in a line."""
    if isinstance(value, str):
        value = [one.strip() for one in value.splitlines() if one.strip()]
    if not isinstance(value, list) or len(value) > MOST_LABELS:
        raise _wrong("labels", 'Send a list of labels, such as ["spam", "ham"].')
    if not value or reading["task"] in UNLABELLED or reading["problem"] == REGRESSION:
        return []
    between = reading["separator"]
    for one in value:
        if not isinstance(one, str) or one.strip() != one or not 0 < len(one) <= MOST_LABEL:
            raise _wrong("labels", f"A label is a text of at most {MOST_LABEL} characters.")
        if between and between in one:
            raise _wrong("labels", f"The label {one!r} holds what stands between labels.")
    return list(dict.fromkeys(value))


def _features(look: Look, asked: Any, guessed: dict[str, str], *, strict: bool) -> dict[str, str]:
    """{name: numeric|categorical} in the order of the file; of a list of names the kinds are
    guessed."""
    if asked is None:
        return guessed
    by_name = {column["name"]: column for column in look.columns}
    if isinstance(asked, list):
        asked = dict.fromkeys([name for name in asked if isinstance(name, str)])
    if not isinstance(asked, dict):
        example = '{"age": "numeric", "work": "categorical"}'
        raise _wrong("columns.features", f"Send an object such as {example}, or a list of columns.")
    for name, kind in asked.items():
        if name not in by_name and strict:
            has = ", ".join(list(by_name)[:20])
            raise _wrong("columns.features", f"There is no column {name!r}; there are {has}.")
        if kind not in (NUMERIC, CATEGORICAL, None):
            raise _wrong("columns.features", f"{name} is either {NUMERIC} or {CATEGORICAL}.")
    return {
        name: asked[name] or (NUMERIC if column["numeric"] else CATEGORICAL)
        for name, column in by_name.items()
        if name in asked
    }


def _problem(
    form: Format, look: Look, columns: dict[str, Any], asked: dict[str, Any], task: str
) -> dict[str, Any]:
    """{"problem", "separator"}: what was asked for, and guesses where nothing was."""
    if task == TOKENS_TASK:
        return {"problem": SINGLE, "separator": " "}
    if task in UNLABELLED:
        return {"problem": SINGLE, "separator": ""}
    problem = asked.get("problem") or form.guess_problem(columns, look)
    if problem not in form.problems:
        offered = ", ".join(form.problems)
        detail = f"Labels of {form.label} are of one of these kinds: {offered}."
        raise Invalid(detail, fields={"problem": [detail], "reading.problem": [detail]})
    separator = asked.get("separator") or ""
    if not isinstance(separator, str) or len(separator) > MOST_SEPARATOR:
        raise _wrong("separator", "Send the character that stands between labels, such as | or ;.")
    if problem == MULTI:
        return {"problem": problem, "separator": separator or form.guess_separator(columns, look)}
    return {"problem": problem, "separator": ""}


def _tag_names(value: Any) -> list[str]:
    """Of tags that are numbers, their names in order; also as one text with blanks or commas."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list) or len(value) > MOST_LABELS:
        raise _wrong("tag_names", 'Send a list of names in order, such as ["O", "B-PER", "I-PER"].')
    for one in value:
        if not isinstance(one, str) or one.split() != [one] or len(one) > MOST_LABEL:
            raise _wrong("tag_names", "A tag's name is a word without blanks.")
    return value


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


def _absent(form: Format, file: str, look: Look, reading: dict[str, Any]) -> list[dict[str, Any]]:
    """Problems with a file of several that lacks a column which another file has."""
    names = {column["name"] for column in look.columns}
    if not look.columns:
        return []
    columns = reading["columns"]
    needed = [(columns.get(role), f"the {role}") for role in form.roles(reading["task"])]
    needed += [(name, "learning") for name in columns.get("features", {})]
    return [
        {"severity": "error", "detail": f"{file} has no column {column!r} for {what}."}
        for column, what in needed
        if column is not None and column not in names
    ]


def _doubts(
    form: Format, reading: dict[str, Any], labels: dict[str, int], files: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What looks odd about the mapping as a whole."""
    seen = sum(one["seen"] for one in files)
    columns, task, problem = reading["columns"], reading["task"], reading["problem"]
    doubts: list[tuple[str, str]] = []
    absent = []
    if form.has_columns and seen:
        absent = [
            role for role, needed in form.roles(task).items() if needed and not columns.get(role)
        ]
        if task == TABLE_TASK and not columns.get("features"):
            absent.append("features")
    if form.has_columns and seen and "label" in form.roles(task) and not columns.get("label"):
        doubts.append(("info", NO_LABEL))
    if seen and len(labels) == 1:
        doubts.append(("warning", f"The only label seen is {next(iter(labels))!r}."))
    if task == TOKENS_TASK and labels and all(one.isdigit() for one in labels):
        doubts.append(
            (
                "warning",
                "The tags are numbers. Give their names in order, or spans of "
                "words cannot be told from each other.",
            )
        )
    elif seen >= 50 and problem == SINGLE and len(labels) > seen / 2:
        number = " If it holds quantities, choose a number." if REGRESSION in form.problems else ""
        detail = f"{len(labels)} different labels in {seen} rows: is this the right column?{number}"
        doubts.append(("warning", detail))
    if seen and problem == MULTI and not any(_several(reading, one) for one in files):
        detail = f"No row seen has several labels with {reading['separator']!r} between them."
        doubts.append(("warning", detail))
    words = {
        "text": "the column that holds the input text",
        "image": "the column that holds the pictures",
        "audio": "the column that holds the sounds",
        "features": "the columns to learn from",
    }
    return [
        {
            "severity": "error",
            "field": f"columns.{role}",
            "detail": f"Choose {words[role]}.",
        }
        for role in absent
    ] + [{"severity": severity, "detail": detail} for severity, detail in doubts]


def _several(reading: dict[str, Any], file: dict[str, Any]) -> bool:
    """Whether a shown row has the separator in its label."""
    names = [column["name"] for column in file["columns"]]
    label = reading["columns"].get("label")
    if label not in names:
        return False
    return any(reading["separator"] in row[names.index(label)].strip() for row in file["rows"])


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={f"reading.{field}": [sentence]})
