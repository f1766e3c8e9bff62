"""What is wrong with the rows, each kind counted, with its first rows or places."""

from __future__ import annotations

from collections import Counter
from typing import Any

from distillhub.lib.later import np
from projects.ingest import equal_keys
from projects.ingest.formats import SPLITS, TEST, TRAIN, VALIDATION
from projects.ingest.labels import Labels
from projects.ingest.splits import ALONE

LISTED = 100  # rows or places that an issue names
FILTERED = 10_000  # rows that lists and operations find by an issue
RARE = 10  # rows: a label with fewer can hardly be learned or judged

ERROR, WARNING, INFO = "error", "warning", "info"
_ORDER = {ERROR: 0, WARNING: 1, INFO: 2}

#: code: (severity, sentence)
KINDS: dict[str, tuple[str, str]] = {
    "leak": (
        ERROR,
        "Rows of validation or test whose input also stands in an earlier split: scores on them "
        "are too good to be true.",
    ),
    "group_leak": (
        ERROR,
        "Rows of validation or test whose group also has rows in an earlier split: scores on them "
        "are too good to be true.",
    ),
    "no_train_rows": (ERROR, "No row is in the train split, so nothing can be trained on this."),
    "single_label": (ERROR, "There is only one label, so there is nothing to tell apart."),
    "conflicting_labels": (WARNING, "Rows whose input also stands elsewhere with another label."),
    "missing_label": (INFO, "Rows without a label. They are kept: teachers answer them, too."),
    "unseen_label": (WARNING, "Rows of validation or test whose label no training row has."),
    "empty_input": (WARNING, "Rows without any input. They were left out."),
    "blank_in_word": (
        WARNING,
        "Rows with a word that is empty or holds a blank. They were left out.",
    ),
    "unpaired_tags": (
        WARNING,
        "Rows with more or fewer tags than words. They were left out, as asked.",
    ),
    "unreadable_row": (WARNING, "Rows that cannot be read. They were left out, as asked."),
    "not_text": (
        WARNING,
        "Chats with pictures, sounds or files, which are no text. They were left out.",
    ),
    "above_table": (INFO, "Rows above the table's. They were left out."),
    "ragged_line": (WARNING, "Lines with a wrong number of values. They were left out, as asked."),
    "not_a_number": (
        WARNING,
        "Rows with a word in a column of numbers. It counts as missing; is the column right?",
    ),
    "unreadable_sound": (WARNING, "Sounds that do not decode. They were left out."),
    "silent_sound": (WARNING, "Sounds without anything to hear. They are kept."),
    "unreadable_image": (WARNING, "Pictures that do not decode. They were left out."),
    "duplicate": (WARNING, "Rows whose input already stands in an earlier row. They are kept."),
    "near_duplicate": (
        INFO,
        "Rows whose input stands in an earlier row but for white space around the text, or for "
        "how the picture is encoded. They are kept.",
    ),
    "repeated_row": (
        INFO,
        "Rows whose values all stand in an earlier row, too. In a table of few columns that is "
        "natural, so splits are not kept apart by it.",
    ),
    "rare_label": (INFO, f"Rows of labels that have fewer than {RARE} rows in the train split."),
    "label_trimmed": (INFO, "Labels with white space around them. It was removed."),
    "image_reencoded": (INFO, "Pictures that were stored anew as PNG, eight bits a channel."),
    "blank_line": (INFO, "Blank lines. They were left out."),
    "not_an_image": (INFO, "Files that are no pictures. They were left out."),
    "not_a_sound": (INFO, "Files that are no sounds. They were left out."),
    "ignored_column": (INFO, "Columns that were left out, as the mapping says."),
}


def know(code: str, severity: str, sentence: str) -> None:
    """Of other apps: a kind of issue that their operations find."""
    KINDS[code] = (severity, sentence)


class Tally:
    """Collects issues met one by one while reading."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: dict[str, list[int]] = {}
        self.places: dict[str, list[str]] = {}
        self.more: dict[str, dict[str, list[int]]] = {}  # of each row of an issue; see `many`

    def row(self, code: str, row_id: int) -> None:
        self.counts[code] += 1
        rows = self.rows.setdefault(code, [])
        if len(rows) < FILTERED:
            rows.append(row_id)

    def place(self, code: str, place: str) -> None:
        self.counts[code] += 1
        places = self.places.setdefault(code, [])
        if len(places) < LISTED:
            places.append(place[:500])

    def remark(self, code: str, words: str) -> None:
        """More about an issue whose rows are counted; nothing of one that was not found."""
        if self.counts[code]:
            places = self.places.setdefault(code, [])
            if len(places) < LISTED:
                places.append(words[:500])

    def many(
        self,
        code: str,
        row_ids: np.ndarray[Any, Any],
        *,
        better: np.ndarray[Any, Any] | None = None,
        beside: np.ndarray[Any, Any] | None = None,
    ) -> None:
        """All rows of an issue at once; `better`: which class each of them should perhaps have;
        `beside`: the row that each of them is to be compared with."""
        if len(row_ids):
            self.counts[code] += len(row_ids)
            self.rows[code] = [int(one) for one in row_ids[:FILTERED]]
            given = {"better": better, "beside": beside}
            more = {
                name: [int(one) for one in values[:FILTERED]]
                for name, values in given.items()
                if values is not None
            }
            if more:
                self.more[code] = more

    def take(self, other: Tally) -> None:
        """What another one has met of other kinds."""
        self.counts.update(other.counts)
        self.rows |= other.rows
        self.places |= other.places

    def beyond(self) -> dict[str, dict[str, list[int]]]:
        """{code: {"rows", "better"?, "beside"?}} of the issues for which `report` does not say all
        that is known: up to FILTERED rows."""
        found: dict[str, dict[str, list[int]]] = {}
        for code, rows in self.rows.items():
            if len(rows) > LISTED or code in self.more:
                found[code] = {"rows": rows} | self.more.get(code, {})
        return found

    def report(self) -> list[dict[str, Any]]:
        """[{"code", "severity", "count", "rows", "places", "detail"}], the gravest first."""
        found = [
            {
                "code": code,
                "severity": KINDS[code][0],
                "count": count,
                "rows": self.rows.get(code, [])[:LISTED],
                "places": self.places.get(code, []),
                "detail": KINDS[code][1],
            }
            for code, count in self.counts.items()
        ]
        codes = list(KINDS)
        return sorted(found, key=lambda one: (_ORDER[one["severity"]], codes.index(one["code"])))


def between_rows(
    tally: Tally,
    splits: np.ndarray[Any, Any],
    labels: Labels,
    keys: np.ndarray[Any, Any],
    exact: np.ndarray[Any, Any],
    *,
    repeats: bool = False,
    wants_labels: bool = True,
) -> None:
    """Add the issues that only show when rows are compared.

    `splits` [rows]: index of SPLITS; `keys` [rows]: equal for inputs that mean the same; `exact`
    [rows]: equal for inputs that are the same to the byte. `repeats`: equal inputs are natural.
    """
    train = SPLITS.index(TRAIN)
    if repeats:
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        tally.many("repeated_row", np.flatnonzero(first[group] != np.arange(len(keys))))
    else:
        _between_inputs(tally, splits, labels.same, keys, exact)
    rows, classes = labels.classes
    trained = np.bincount(classes[splits[rows] == train], minlength=len(labels.names))
    if len(classes):
        unseen = (splits[rows] != train) & (trained[classes] == 0)
        tally.many("unseen_label", np.unique(rows[unseen]))
        rare = (trained[classes] < RARE) & (trained[classes] > 0)
        tally.many("rare_label", np.unique(rows[rare]))
    if wants_labels:
        tally.many("missing_label", np.flatnonzero(labels.same < 0))
    if not (splits == train).any():
        tally.counts["no_train_rows"] = 1
    known = labels.same[labels.same >= 0]
    if len(labels.names) == 1 or (not labels.names and len(np.unique(known)) == 1):
        tally.counts["single_label"] = 1


def _between_inputs(
    tally: Tally,
    splits: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    keys: np.ndarray[Any, Any],
    exact: np.ndarray[Any, Any],
) -> None:
    duplicate = equal_keys.repeated(exact)
    tally.many("duplicate", np.flatnonzero(duplicate))
    group, first = equal_keys.grouped(keys)
    again = np.ones(len(keys), dtype=bool)
    again[first] = False
    tally.many("near_duplicate", np.flatnonzero(again & ~duplicate))
    del first, again, duplicate

    tally.many("conflicting_labels", np.flatnonzero(conflicting(labels, group)))
    tally.many("leak", np.flatnonzero(leaking(splits, group)))


def conflicting(labels: np.ndarray[Any, Any], group: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`[rows]`: another row of the group has another label. `labels` [rows], -1 without one."""
    sizes = int(group.max(initial=-1)) + 1
    labelled = labels >= 0
    lowest = np.full(sizes, np.iinfo(labels.dtype).max, dtype=labels.dtype)
    highest = np.full(sizes, -1, dtype=labels.dtype)
    np.minimum.at(lowest, group[labelled], labels[labelled])
    np.maximum.at(highest, group[labelled], labels[labelled])
    found: np.ndarray[Any, Any] = (highest > lowest)[group] & labelled
    return found


def leaking(splits: np.ndarray[Any, Any], group: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`[rows]`: of validation or test, with a row of the group in an earlier split."""
    train, validation, test = (SPLITS.index(name) for name in (TRAIN, VALIDATION, TEST))
    present = np.zeros((len(SPLITS), int(group.max(initial=-1)) + 1), dtype=bool)
    present[splits, group] = True
    found: np.ndarray[Any, Any] = ((splits == validation) & present[train][group]) | (
        (splits == test) & (present[train] | present[validation])[group]
    )
    return found


def between_groups(
    tally: Tally, splits: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]
) -> None:
    """Add what shows when the rows of a group are compared. `groups` [rows]; ALONE where a row
    belongs to nothing."""
    _, of_group = np.unique(groups, return_inverse=True)
    earliest = np.full(int(of_group.max(initial=0)) + 1, len(SPLITS))
    np.minimum.at(earliest, of_group, splits)
    tally.many("group_leak", np.flatnonzero((earliest[of_group] < splits) & (groups != ALONE)))
