"""Where a run can begin: a scheme with its terms, stages and a few training values; one file each.

A preset fills the form and nothing else: everything stays editable, and no run remembers it. What
it may be used for follows from its parts: the tasks and problems that all of them know.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from training.engine.options import JSON
from training.engine.registry import CLASSIFICATION, Method, Registry
from training.engine.terms import PROBLEMS

#: In the order in which they are offered.
FAMILIES = {
    "begin": "Begin here",
    "writing": "Writing",
    "answers": "Answers",
    "layers": "Layers",
    "rows": "Rows together",
    "self": "Without a teacher",
    "whole": "Whole recipes",
}
#: Tasks in which a label belongs to a whole row.
ROWS = tuple(task for task in CLASSIFICATION if task != "token-classification")
#: Of every preset that compares layers.
UNLIKE = "Between unlike architectures, terms about layers often hurt: compare with soft targets."


class Preset(Method):
    """`summary` says what it does, `when` when to use it, `warning` what often goes wrong."""

    family: ClassVar[str]
    rank: ClassVar[int] = 50  # within its family, the lowest first
    when: ClassVar[str]
    warning: ClassVar[str] = ""
    teachers: ClassVar[int] = 1  # the fewest that it makes sense with, where any are needed
    scheme: ClassVar[str | JSON] = "offline"
    losses: ClassVar[tuple[JSON, ...]] = ()
    stages: ClassVar[tuple[JSON, ...]] = ()  # of the scheme "staged", each with losses of its own
    training: ClassVar[JSON] = {}
    exports: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def terms(cls) -> Iterator[JSON]:
        """Every term, of every stage."""
        yield from cls.losses
        for stage in cls.stages:
            yield from stage["losses"]

    @classmethod
    def configuration(cls) -> JSON:
        """Its part of a run configuration (docs/api.md)."""
        said: JSON = {"scheme": cls.scheme}
        if cls.stages:
            said["stages"] = list(cls.stages)
        else:
            said["losses"] = list(cls.losses)
        if cls.training:
            said["training"] = dict(cls.training)
        if cls.exports:
            said["exports"] = list(cls.exports)
        return said


PRESETS: Registry[type[Preset]] = Registry("preset", "training.engine.presets")


def described(methods: dict[str, Any]) -> list[JSON]:
    """The catalog's entries, in the order in which they are offered. `methods` is the catalog."""
    losses = {one["key"]: one for one in methods["losses"]}
    schemes = {one["key"]: one for one in methods["schemes"]}
    exporters = {one["key"]: one for one in methods["exporters"]}
    known = [one["key"] for one in methods["tasks"]]
    families = list(FAMILIES)
    entries = []
    for preset in sorted(PRESETS, key=lambda one: (families.index(one.family), one.rank, one.key)):
        scheme = schemes[preset.scheme if isinstance(preset.scheme, str) else preset.scheme["kind"]]
        terms = [losses[term["kind"]] for term in preset.terms()]
        parts = [scheme, *terms, *(exporters[key] for key in preset.exports)]
        listens = scheme["needs_teacher"] or any(term["needs_teacher"] for term in terms)
        taught = scheme["takes_teachers"] and listens and not scheme["brings_teacher"]
        entries.append(
            {
                "key": preset.key,
                "label": preset.label,
                "summary": preset.summary,
                "when": preset.when,
                "warning": preset.warning,
                "paper": preset.paper,
                "family": FAMILIES[preset.family],
                "tasks": [
                    task
                    for task in known
                    if task in preset.tasks and all(task in part["tasks"] for part in parts)
                ],
                "problems": [
                    problem
                    for problem in PROBLEMS
                    if all(problem in term["problems"] for term in terms)
                ],
                "needs_teacher": taught,
                "teachers": preset.teachers if taught else 0,
                "losses": [],
                "stages": [],
                "training": {},
                "exports": [],
                **preset.configuration(),
            }
        )
    return entries
