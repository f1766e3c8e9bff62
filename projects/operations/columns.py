"""Say anew what columns are: their names, and what each is for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest import numbers, restored, stored
from projects.ingest.formats import (
    CATEGORICAL,
    GENERATION_TASK,
    NUMERIC,
    REGRESSION,
    TABLE_TASK,
    TOKENS_TASK,
    UNLABELLED,
    BadFile,
)
from projects.models import DatasetVersion
from projects.operations import label_values, operation, registry
from projects.operations.operation import Parent, StoredRow

MOST_NAME = 200  # characters
MOST_COLUMNS = 500
NEARLY = 0.01  # how far the probabilities of a row may be from 1 together
SMALLEST, LARGEST = 0.0, 1e6  # weights

#: Roles that a column is given, and the role under which it is stored.
CONTENT = ("text", "prompt", "rationale", "label")  # in columns of these names
BESIDE = {"id": "key", "group": "group", "weight": "weight"}  # under its own name
ROLES = (*CONTENT, *BESIDE)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A column of the next version, and the column that its values are drawn from."""

    column: dict[str, str]
    origin: str  # empty: it has no values


@registry.register
class Columns(operation.Operation):
    key = "columns"
    label = "Columns"
    summary = (
        "Rename and drop columns; say which is the text, the prompt, the label, the id, the group "
        "or the weight of a row, which are learned from, and which hold probabilities of classes."
    )

    class Options(operation.Options):
        roles = serializers.DictField(
            child=serializers.CharField(max_length=MOST_NAME, allow_blank=True, allow_null=True),
            required=False,
            style={"as": "roles"},
            help_text="From a role (text, prompt, rationale, label, id, group, weight) to a "
            "column; an empty one takes the role away.",
        )
        soft_labels = serializers.DictField(
            child=serializers.CharField(max_length=MOST_NAME),
            required=False,
            style={"as": "soft_labels"},
            help_text="From each label to the column of its probability.",
        )
        features = serializers.DictField(
            child=serializers.ChoiceField(choices=[NUMERIC, CATEGORICAL, "kept"]),
            required=False,
            style={"as": "features"},
            help_text="Of a table: from a column to numeric or categorical, which are learned "
            "from, or to kept.",
        )
        rename = serializers.DictField(
            child=serializers.CharField(max_length=MOST_NAME),
            required=False,
            style={"as": "names"},
            help_text="From names to new ones, of columns that are kept or learned from.",
        )
        drop = serializers.ListField(
            child=serializers.CharField(max_length=MOST_NAME),
            required=False,
            max_length=MOST_COLUMNS,
            style={"of": "columns", "fold": "Leave columns out"},
            help_text="Columns that are left out.",
        )

    can_be_tried: ClassVar[bool] = True

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if not any(options.values()):
            raise operation.refuse("roles", "Say what is to change.")
        for name, value in options.items():
            if len(value) > MOST_COLUMNS:
                raise operation.refuse(name, f"At most {MOST_COLUMNS} columns.")
        plan(version, options)

    def told(self, options: Mapping[str, Any]) -> str:
        roles = options.get("roles") or {}
        parts = [f"{column} as {role}" for role, column in roles.items() if column]
        parts += [f"no {role}" for role, column in roles.items() if not column]
        if options.get("soft_labels"):
            parts.append(f"probabilities of {len(options['soft_labels'])} labels")
        for kind in (NUMERIC, CATEGORICAL, "kept"):
            which = [name for name, said in (options.get("features") or {}).items() if said == kind]
            parts += [f"{', '.join(which[:5])} {kind}"] if which else []
        parts += [f"{old} → {new}" for old, new in (options.get("rename") or {}).items()][:5]
        if dropped := options.get("drop"):
            parts.append(f"without {', '.join(dropped[:5])}")
        return f"Changed columns: {', '.join(parts)}"

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        return [one.column for one in plan(parents[0].version, options)]

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        version = parent.version
        drawn = plan(version, options)
        soft = [one.column["name"] for one in drawn if one.column["role"] == "soft"]
        weighs = [one.column["name"] for one in drawn if one.column["role"] == "weight"]
        for row in parent.rows():
            made = {one.column["name"]: self._value(version, row, one) for one in drawn}
            made["row_id"] = row["row_id"]
            if "text" in made and not (made["text"] or "").strip():
                continue  # as in an upload: a row without any input is none
            self._check_numbers(row, made, soft, weighs)
            yield made

    def _value(self, version: DatasetVersion, row: StoredRow, one: Drawn) -> Any:
        value, column = row[one.origin] if one.origin else None, one.column
        if column["type"] == "number" and isinstance(value, str):
            try:
                return numbers.number(value, comma=False)
            except numbers.NotANumber:
                raise _unlike(row, one.origin, value, "no number") from None
        if column["type"] != "number" and isinstance(value, float):
            value = numbers.written(value)
        if column["role"] == "label" and one.origin != "label":
            try:
                return label_values.stored(version, value or "")
            except label_values.NoLabel:
                raise _unlike(row, one.origin, value, "no label of this dataset") from None
        if column["role"] in {"prompt", "input"} and value is None:
            return ""
        return value

    def _check_numbers(
        self, row: StoredRow, made: StoredRow, soft: list[str], weighs: list[str]
    ) -> None:
        for name in weighs:
            value = made[name]
            if value is not None and not SMALLEST <= value <= LARGEST:
                raise _unlike(row, name, value, f"no weight from 0 to {LARGEST:.0f}")
        if not soft:
            return
        known = [made[name] for name in soft if made[name] is not None]
        if not known:
            return
        wrong = [name for name in soft if made[name] is None or not 0 <= made[name] <= 1]
        if wrong:
            raise _unlike(row, wrong[0], made[wrong[0]], "no probability")
        if abs(sum(known) - 1) > NEARLY:
            raise BadFile(
                f"Row {row['row_id']} ({row['source']}): its probabilities make "
                f"{sum(known):.3f}, not 1."
            )


def _unlike(row: StoredRow, column: str, value: Any, what: str) -> BadFile:
    said = str(value)[:50]
    return BadFile(f"Row {row['row_id']} ({row['source']}): {column} says {said!r}, {what}.")


def plan(version: DatasetVersion, options: Mapping[str, Any]) -> list[Drawn]:
    """The columns of the next version in their order. Raises Invalid."""
    return _Planner(version, options).drawn()


class _Planner:
    def __init__(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        self.version = version
        self.by_name = {one["name"]: one for one in version.columns}
        self.roles = {role: name or "" for role, name in (options.get("roles") or {}).items()}
        self.soft: dict[str, str] = options.get("soft_labels") or {}
        self.features: dict[str, str] = options.get("features") or {}
        self.renamed: dict[str, str] = options.get("rename") or {}
        self.dropped = set(options.get("drop") or ())

    def drawn(self) -> list[Drawn]:
        self._check_roles()
        self._check_soft()
        self._check_features()
        content = self._content()
        taken = {one.origin for one in content}
        beside = [
            one
            for one in self.version.columns
            if one["name"] not in taken and one["role"] not in {"id", "split", "source"}
        ]
        source = Drawn(self.by_name["source"], "source")
        used = {one.column["name"] for one in content} | {"source"}
        learned: list[Drawn] = []
        kept: list[Drawn] = []
        for one in beside:
            if one["name"] in self.dropped:
                continue
            made = self._beside(one, used)
            used.add(made.column["name"])
            (learned if made.column["role"] in restored.INPUTS else kept).append(made)
        unknown = self.dropped - {one["name"] for one in beside}
        if unknown:
            name = min(unknown)
            what = "cannot be dropped" if name in self.by_name else "is not there"
            raise operation.refuse("drop", f"The column {name!r} {what}.")
        if self.version.dataset.task == TABLE_TASK and not learned:
            raise operation.refuse("features", "Some columns must be there to learn from.")
        fixed, inputs = content[:3], content[3:]
        return [*fixed, *inputs, *learned, source, *kept]

    def _content(self) -> list[Drawn]:
        """row_id, split and label, then the inputs that stand in columns of fixed names."""
        found = [Drawn(self.by_name[name], name) for name in ("row_id", "split")]
        found.append(self._of_role("label", {"name": "label", "type": "string", "role": "label"}))
        media = [one for one in self.version.columns if one["role"] == "measure"]
        named = {"prompt": "prompt", "text": "input", "rationale": "rationale"}
        for name, role in named.items():
            if self._holds(name):
                column = {"name": name, "type": "string", "role": role}
                found.append(self._of_role(name, column))
        if self.version.input_column in {"image", "audio"}:
            name = self.version.input_column
            found.append(Drawn(self.by_name[name], name))
        return [*found, *(Drawn(one, one["name"]) for one in media)]

    def _holds(self, name: str) -> bool:
        """Whether the next version has this column."""
        chosen = self.roles.get(name)
        return bool(chosen) if chosen is not None else name in self.by_name

    def _of_role(self, name: str, column: dict[str, str]) -> Drawn:
        chosen = self.roles.get(name)
        if chosen is None or chosen == name:
            return Drawn(self.by_name.get(name, column), name)
        origin = {"from": self.by_name[chosen].get("from", chosen)} if chosen else {}
        return Drawn(column | origin, chosen)

    def _beside(self, one: dict[str, str], used: set[str]) -> Drawn:
        """A column under its own name, which may have lost a role, or get one."""
        name, column = one["name"], dict(one)
        role = {chosen: key for key, chosen in self.roles.items() if key in BESIDE}.get(name)
        lost = {BESIDE[key] for key in self.roles if key in BESIDE}
        label = {chosen: label for label, chosen in self.soft.items()}.get(name)
        if one["role"] not in {*restored.KEPT, "feature"}:  # what was the text, or the label
            column |= {"role": "extra", "name": str(one.get("from") or name)}
        if self.soft and column["role"] == "soft":
            column = {key: said for key, said in column.items() if key != "class"}
            column["role"] = "extra"
        if column["role"] in lost:
            column["role"] = "extra"
        if kind := self.features.get(name):
            column |= {
                "role": "extra" if kind == "kept" else "feature",
                "type": {NUMERIC: "number", CATEGORICAL: "category"}.get(kind, column["type"]),
            }
        if role:
            column |= {"role": BESIDE[role]}
            column["type"] = "number" if role == "weight" else "string"
        if label is not None:
            column |= {"role": "soft", "type": "number", "class": label}
        if column["role"] in restored.KEPT and column["type"] == "category":
            column["type"] = "string"
        wanted = self.renamed.get(name)
        if wanted is not None:
            column["name"] = self._free(wanted.strip(), used)
        else:
            column["name"] = stored.stored_names((column["name"],), sorted(used))[0]
        return Drawn(column, name)

    def _free(self, name: str, used: set[str]) -> str:
        if not name:
            raise operation.refuse("rename", "A column needs a name.")
        if name in {*stored.RESERVED, "prompt", "rationale"}:
            raise operation.refuse("rename", f"{name} is a name that columns get by their role.")
        staying = self.by_name.keys() - self.dropped - self.renamed.keys()
        if name in used or name in staying:
            raise operation.refuse("rename", f"There would be two columns called {name!r}.")
        return name

    def _check_roles(self) -> None:
        task = self.version.dataset.task
        allowed = set(BESIDE)
        if task not in {TABLE_TASK, TOKENS_TASK} and self.version.input_column == "text":
            allowed.add("text")
        if task == GENERATION_TASK:
            allowed |= {"prompt", "rationale"}
        if task not in UNLABELLED and task != TOKENS_TASK:
            allowed.add("label")
        seen: dict[str, str] = {}
        for role, name in self.roles.items():
            if role not in allowed:
                known = ", ".join(one for one in ROLES if one in allowed)
                sentence = f"There is no role {role!r} here; there are {known}."
                raise operation.refuse("roles", sentence)
            if not name:
                if role in {"text", "label"}:
                    raise operation.refuse("roles", f"Some column must be the {role}.")
                continue
            column = self.by_name.get(name)
            if column is None:
                raise operation.refuse("roles", f"There is no column {name!r}.")
            if column["role"] in {"id", "split", "source", "measure"} or column["type"] in {
                "image",
                "audio",
                "binary",
            }:
                raise operation.refuse("roles", f"{name} cannot be the {role} of a row.")
            if name in seen:
                raise operation.refuse("roles", f"{name} is already the {seen[name]}.")
            if role in BESIDE and column["role"] not in {*restored.KEPT, "feature"}:
                raise operation.refuse("roles", f"{name} is what is learned, not the {role}.")
            seen[name] = role
            if name in self.dropped:
                raise operation.refuse("drop", f"{name} is to be the {role}.")
        if self._holds("rationale") and not self._holds("prompt"):
            raise operation.refuse("roles", "A rationale stands beside a prompt; choose one.")

    def _check_soft(self) -> None:
        if not self.soft:
            return
        if self.version.problem == REGRESSION or not self.version.labels:
            raise operation.refuse("soft_labels", "The labels of this dataset are no classes.")
        unknown = sorted(set(self.soft) - set(self.version.labels))
        if unknown:
            raise operation.refuse("soft_labels", f"There is no label {unknown[0]!r}.")
        lacking = [one for one in self.version.labels if one not in self.soft]
        if lacking:
            raise operation.refuse("soft_labels", f"{lacking[0]!r} has no column.")
        for name in self.soft.values():
            column = self.by_name.get(name)
            if column is None or column["role"] not in restored.KEPT or name in self.dropped:
                raise operation.refuse("soft_labels", f"There is no kept column {name!r}.")
        if len(set(self.soft.values())) < len(self.soft):
            raise operation.refuse("soft_labels", "Two labels have one column.")

    def _check_features(self) -> None:
        if self.features and self.version.dataset.task != TABLE_TASK:
            raise operation.refuse("features", "Only tables are learned from by columns.")
        for name in self.features:
            column = self.by_name.get(name)
            if column is None or column["role"] not in {"feature", "extra"}:
                raise operation.refuse("features", f"There is no such column: {name!r}.")
        for name in self.renamed:
            if name not in self.by_name:
                raise operation.refuse("rename", f"There is no column {name!r}.")
            if self.by_name[name]["role"] not in {*restored.KEPT, "feature"}:
                raise operation.refuse("rename", f"{name} has its name by its role.")
