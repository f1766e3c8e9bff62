"""The form of a sweep: a configuration, and of each of its options whether and how it is varied. It
judges nothing; the service that launches says what is wrong, and where."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from django.http import QueryDict

from distillhub.lib import rest
from distillhub.lib.errors import DomainError
from projects.models import Project
from training import catalog
from training.forms import fields, run_choices
from training.services import sweep_space, sweeps

LONGEST_BASE = 200_000
#: Options whose magnitude matters more than their size.
BY_MAGNITUDE = ("learning_rate", "weight_decay")
#: Shown at once; the others are folded.
COMMON = ("student", "temperature", "weight", "learning_rate", "epochs", "batch_size")
WORDS = {"tpe": "TPE, learns as it goes", "random": "Random", "grid": "A whole grid"}


@dataclass(slots=True)
class Row:
    """One option that may be varied."""

    path: str
    label: str
    help: str
    kind: str  # float, int, choice, text
    now: str
    low: str = ""
    high: str = ""
    is_log: bool = False
    values: str = ""
    choices: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    is_varied: bool = False
    is_common: bool = False
    errors: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return "id_" + self.path.replace(".", "_")

    @property
    def is_number(self) -> bool:
        return self.kind in ("float", "int")


class SweepDraft:
    """What was typed so far, and what it asks for."""

    def __init__(self, project: Project, base: Mapping[str, Any]) -> None:
        self.project, self.base = project, dict(base)
        self.faults: dict[str, list[str]] = {}
        self.name, self.sampler, self.metric = "", "tpe", ""
        self.trials, self.at_once, self.seed = str(sweeps.TRIALS), str(sweeps.AT_ONCE), "0"
        self.pruning, self.control = True, False
        self.rows = list(self._rows())

    @classmethod
    def begun(cls, project: Project, base: Mapping[str, Any]) -> Self:
        """Of a configuration that was checked. Its control is searched for where it would have been
        trained, and can be: one way searched and the other not is no comparison."""
        draft = cls(project, base)
        can_be = draft.is_taught and not catalog.takes_inputs(base)
        draft.control = can_be and base.get("control") is True
        return draft

    @classmethod
    def from_post(cls, project: Project, posted: QueryDict) -> Self:
        """Raises ValueError where no configuration came with it."""
        text = posted.get("base", "")
        if len(text) > LONGEST_BASE:
            raise ValueError("The configuration is too long.")
        base = rest.loaded(text.encode())
        if not isinstance(base, dict):
            raise ValueError("The configuration is no object.")
        draft = cls(project, base)
        draft.name = posted.get("name", "")[:200]
        draft.sampler = posted.get("sampler", "tpe")
        draft.metric = posted.get("metric", "")
        draft.trials, draft.at_once = posted.get("trials", ""), posted.get("at_once", "")
        draft.seed = posted.get("seed", "")
        draft.pruning = posted.get("pruning") == "true"
        draft.control = posted.get("control") == "true"
        varied = posted.getlist("vary")
        for row in draft.rows:
            row.is_varied = row.path in varied
            row.low = posted.get(f"low.{row.path}", row.low)
            row.high = posted.get(f"high.{row.path}", row.high)
            row.values = posted.get(f"values.{row.path}", "")
            if row.is_varied:
                row.is_log = posted.get(f"log.{row.path}") == "true"
                row.chosen = posted.getlist(f"choose.{row.path}")
        return draft

    @property
    def base_json(self) -> str:
        return json.dumps(self.base)

    @property
    def asked_json(self) -> str:
        return json.dumps(self.asked(), indent=2, ensure_ascii=False)

    @property
    def common(self) -> list[Row]:
        return [row for row in self.rows if row.is_common]

    @property
    def further(self) -> list[Row]:
        return [row for row in self.rows if not row.is_common]

    @property
    def has_further_news(self) -> bool:
        return any(row.is_varied or row.errors for row in self.further)

    @property
    def samplers(self) -> list[tuple[str, str]]:
        return [(key, WORDS[key]) for key in sweeps.SAMPLERS]

    @property
    def metrics(self) -> list[str]:
        dataset = str(self.base.get("dataset", ""))
        found = run_choices.datasets(self.project, dataset)
        problem = next((one.problem for one in found if one.reference == dataset), "single_label")
        return [f"val/{one}" for one in catalog.metrics_of(str(self.base.get("task")), problem)]

    @property
    def is_taught(self) -> bool:
        return bool(self.base.get("teachers"))

    @property
    def teachers(self) -> list[str]:
        found = self.base.get("teachers", [])
        return [one if isinstance(one, str) else str(one.get("model")) for one in found]

    @property
    def told(self) -> list[tuple[str, str]]:
        """What stands at no row."""
        paths = {f"space.{row.path}" for row in self.rows}
        return [(at, " ".join(said)) for at, said in self.faults.items() if at not in paths]

    def asked(self) -> dict[str, Any]:
        """As REST would take it."""
        told: dict[str, Any] = {
            "kind": "sweep",
            "name": self.name.strip(),
            "base": self.base,
            "space": {row.path: self._space(row) for row in self.rows if row.is_varied},
            "sampler": self.sampler,
            "at_once": _whole(self.at_once),
            "pruning": self.pruning,
            "seed": _whole(self.seed),
            "control": self.control,
        }
        if self.trials.strip() or self.sampler != "grid":
            told["trials"] = _whole(self.trials)
        if self.metric:
            told["metric"] = self.metric
        return told

    def refuse(self, error: DomainError) -> None:
        self.faults = dict(error.fields) or {"": [error.detail]}
        for row in self.rows:
            row.errors = list(self.faults.get(f"space.{row.path}", []))

    def _space(self, row: Row) -> dict[str, Any]:
        if row.choices:
            return {"values": [_choice(row, one) for one in row.chosen]}
        if row.values.strip() or not row.is_number:
            parts = [one.strip() for one in row.values.split(",") if one.strip()]
            return {"values": [_number(one) for one in parts]}
        return {
            "low": _number(row.low),
            "high": _number(row.high),
            **({"log": True} if row.is_log else {}),
        }

    def _rows(self) -> Iterator[Row]:
        yield from self._students()
        for at, losses in self._losses():
            for place, loss in enumerate(losses):
                home = f"{at}.{place}"
                options = (catalog.find("losses", loss["kind"]) or {"options": []})["options"]
                if len(losses) > 1:
                    yield self._row(f"{home}.weight", WEIGHT, loss.get("weight", 1.0))
                for one in options:
                    yield self._row(f"{home}.{one['name']}", one, loss.get(one["name"]))
        scheme = self.base.get("scheme", "offline")
        kind = scheme if isinstance(scheme, str) else scheme.get("kind")
        known = scheme if isinstance(scheme, Mapping) else {}
        for one in (catalog.find("schemes", str(kind)) or {"options": []})["options"]:
            yield self._row(f"scheme.{one['name']}", one, known.get(one["name"], one["default"]))
        training = self.base.get("training", {})
        for one in catalog.methods()["training"]:
            path = f"training.{one['name']}"
            if path not in sweep_space.REFUSED:
                yield self._row(path, one, training.get(one["name"], one["default"]))

    def _students(self) -> Iterator[Row]:
        student = str(self.base.get("student", ""))
        task = str(self.base.get("task", ""))
        found = run_choices.models(self.project, task, [student], ())
        others = [
            one.reference for one in found if one.has_network and one.reference not in self.teachers
        ]
        if len(others) > 1:
            shown = "Which model is trained: its size above all."
            row = Row("student", "Student", shown, "choice", student, choices=others)
            row.chosen, row.is_common = [student], True
            yield row

    def _losses(self) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
        stages = self.base.get("stages")
        if stages:
            for place, stage in enumerate(stages):
                yield f"stages.{place}.losses", stage.get("losses", [])
        else:
            yield "losses", self.base.get("losses", [])

    def _row(self, path: str, one: Mapping[str, Any], value: Any) -> Row:
        value = one["default"] if value is None else value
        kind = {"bool": "choice", "str": "text", "ints": "text"}.get(one["type"], one["type"])
        label = sweep_space.label_of(self.base, path)
        now = float(f"{value:.6g}") if isinstance(value, float) else value
        row = Row(path, label, one["help"], kind, fields.written(now))
        row.choices = ["true", "false"] if one["type"] == "bool" else list(one["choices"])
        row.chosen = [row.now] if row.choices else []
        row.is_common = path.rpartition(".")[2] in COMMON
        if row.is_number:
            row.low, row.high, row.is_log = _around(one, value)
        return row


WEIGHT: dict[str, Any] = {
    "name": "weight", "type": "float", "help": "How much the term counts.", "default": 1.0,
    "choices": [], "minimum": 0.0, "maximum": 1e6,
}  # fmt: skip


def _around(one: Mapping[str, Any], value: Any) -> tuple[str, str, bool]:
    """A range around what holds now, within the option's limits."""
    name = one["name"]
    value = one["minimum"] or 1 if value is None else value
    by_magnitude = name in BY_MAGNITUDE
    factor = 10 if by_magnitude else 2.5 if name == "temperature" else 2
    low, high = (float(f"{edge:.4g}") for edge in (value / factor, value * factor))
    if value == 0:
        low, high = (0.0001, 0.1) if by_magnitude else (0, 1)
    if one["minimum"] is not None:
        low = max(low, one["minimum"])
    if one["maximum"] is not None:
        high = min(high, one["maximum"])
    if one["type"] == "int":
        low, high = max(int(low), int(one["minimum"] or 0)), int(high)
    return fields.written(low), fields.written(high), by_magnitude and low > 0


def _number(text: str) -> Any:
    """What was typed, as a number where it is one: the service names what is wrong."""
    for kind in (int, float):
        try:
            return kind(text.strip())
        except ValueError:
            continue
    return text.strip() or None


def _whole(text: str) -> Any:
    return _number(text)


def _choice(row: Row, text: str) -> Any:
    return {"true": True, "false": False}.get(text, text) if row.choices[0] == "true" else text
