"""A teacher writes: answers to prompts, new rows from seeds, rows in other words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest import page
from projects.ingest.formats import GENERATION_TASK, SINGLE, TEXT_TASK, TRAIN
from projects.models import DatasetVersion
from projects.operations import conditions, operation, registry
from projects.operations.operation import REMARKS, Facts, Parent, StoredRow, Work, refuse
from projects.services import registry as models
from training.answering.questions import Answer, Prompt
from training.operations import asking, teachers, writers
from training.operations.made_rows import FROM, MOST_TEXT, WHO, MadeRows, fitting, seeds_of
from training.operations.making import ANSWERS, NEW, PARAPHRASES, Making

MOST_ROWS = 100_000  # made at once
LOOKED_AT = 200  # rows, for an estimate
MORE = {"fold": "How they are written"}
WAYS = {
    ANSWERS: "Answer the prompts of rows, in place of their texts",
    NEW: "Make new rows from examples",
    PARAPHRASES: "Say rows in other words",
}


def _ways(version: DatasetVersion) -> list[tuple[str, str]]:
    """What can be written of a version: rows with labels have no prompts to answer."""
    writes = version.dataset.task == GENERATION_TASK
    return [(key, words) for key, words in WAYS.items() if writes or key != ANSWERS]


@registry.register
class Generate(operation.Operation):
    key = "generate"
    label = "Have a teacher write rows"
    summary = (
        "Have a service, or a model that writes, answer prompts, make new rows from examples, or "
        "say rows in other words. New rows go to train alone."
    )

    class Options(teachers.Asking):
        how = serializers.ChoiceField(
            choices=list(WAYS.items()),
            style={"of": _ways},
            help_text="What is written.",
        )
        rows = serializers.IntegerField(
            min_value=1,
            max_value=MOST_ROWS,
            default=100,
            label="How many",
            help_text="New rows in all, or in other words for each row.",
        )
        examples = serializers.IntegerField(
            min_value=1,
            max_value=20,
            default=5,
            style=MORE,
            help_text="Rows shown for each new ones.",
        )
        balance = serializers.BooleanField(
            default=False, help_text="Make most rows of the labels that have fewest."
        )
        judge = serializers.BooleanField(
            default=False,
            help_text="Ask the teacher about each made row, and leave out those it finds wrong.",
        )
        nearest = serializers.FloatField(
            min_value=0.1,
            max_value=1.0,
            default=0.7,
            style=MORE,
            help_text="Made rows as near as this to another (ROUGE-L, 1: the same words) are left "
            "out.",
        )
        least_words = serializers.IntegerField(min_value=1, max_value=1000, default=1, style=MORE)
        most_words = serializers.IntegerField(min_value=1, max_value=5000, default=400, style=MORE)
        about = serializers.CharField(
            max_length=2000,
            required=False,
            label="What they are about",
            help_text="Told to the teacher beside the examples.",
        )
        temperature = serializers.FloatField(
            min_value=0.0,
            max_value=2.0,
            default=0.8,
            style=MORE,
            help_text="0: what is likeliest; above it, more unlike each other.",
        )
        max_tokens = serializers.IntegerField(
            min_value=1,
            max_value=8192,
            required=False,
            style=MORE,
            help_text="Of one answer; the service's own limit, or 128 of a model here.",
        )
        seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0, style=MORE)

    goes_on: ClassVar[Mapping[str, str]] = asking.GOES_ON

    def suits(self, version: DatasetVersion) -> bool:
        task = version.dataset.task
        return task == GENERATION_TASK or (task == TEXT_TASK and version.problem == SINGLE)

    def pinned(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        writes = options["how"] == ANSWERS
        default = teachers.shown(version) if writes else None
        said, _ = teachers.pinned(version, options, default, worded=writes)
        return said

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        teacher = teachers.resolved(version, options["teacher"])
        task, how = version.dataset.task, options["how"]
        if not self.suits(version):
            raise refuse("how", "Only texts are written: with one label, or answers to prompts.")
        if not teacher.is_asked and teacher.model.task != GENERATION_TASK:
            raise refuse("teacher", f"{teacher.reference} does not write.")
        conditions.filter_of(version, options)
        if options["least_words"] > options["most_words"]:
            raise refuse("most_words", "It is less than the least.")
        if how == ANSWERS:
            if task != GENERATION_TASK:
                raise refuse("how", "Rows with labels have no prompts; ask for labels instead.")
            hidden = frozenset({"label"} | ({"text"} if version.column_of("prompt") else set()))
            teachers.template_of(version, options["text"], without=hidden)
        elif options.get("split") not in {None, "", TRAIN}:
            raise refuse("split", "Rows are made from rows of train alone: others would leak.")
        if how == NEW and task == GENERATION_TASK and not teacher.is_asked:
            raise refuse("how", "New prompts with answers are made by services alone.")
        if options["judge"] and (how == ANSWERS or not teacher.is_asked):
            raise refuse("judge", "Services judge rows that they have made.")
        if options["judge"] and task == TEXT_TASK and len(version.labels) < 2:
            raise refuse("judge", "With one label there is nothing to judge.")
        if options["balance"] and (how != NEW or task != TEXT_TASK):
            raise refuse("balance", "New rows with labels are balanced, nothing else.")
        if how == PARAPHRASES and options["rows"] > 20:
            raise refuse("rows", "At most 20 in other words for each row.")

    def told(self, options: Mapping[str, Any]) -> str:
        how, who = options["how"], options["teacher"]
        said = conditions.told(options)
        of = said if said == "all rows" else f"rows {said}"
        if how == ANSWERS:
            return f"{who} answered {of}"[:300]
        if how == PARAPHRASES:
            return f"{who} said {of} in other words"[:300]
        return f"{who} made {options['rows']} new rows from {of}"[:300]

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        version = parents[0].version
        found = list(version.columns)
        names = {one["name"] for one in found}
        if options["how"] == ANSWERS and "prompt" not in names:
            at = next(place for place, one in enumerate(found) if one["role"] == "input")
            found.insert(at, {"name": "prompt", "type": "string", "role": "prompt"})
        wanted = (WHO,) if options["how"] == ANSWERS else (WHO, FROM)
        lacking = [name for name in wanted if name not in names]
        return [*found, *({"name": name, "type": "string", "role": "extra"} for name in lacking)]

    def estimate(self, parent: Parent, options: Mapping[str, Any]) -> Facts:
        teacher = teachers.resolved(parent.version, options["teacher"])
        making = Making(parent.version, options)
        if options["how"] == NEW:
            seeds = seeds_of(parent, options, most=LOOKED_AT)
            many = sum(making.requests(quota) for quota in making.quotas(seeds).values())
            asked, rows = making.new(seeds, 0, making.quotas(seeds)), options["rows"]
        else:
            ids = fitting(parent, options)
            with parent.open() as stream:
                some = page.these(stream, ids[:LOOKED_AT])
            each = options["rows"] if options["how"] == PARAPHRASES else 1
            many, rows = len(ids) * each, len(ids)
            asked = (one for row in some for one in making.of_row(row))
        if not teacher.is_asked:
            return {"rows": rows, "asked": many, "seconds": None}
        prompts = (one.prompt for one in islice(asked, LOOKED_AT))
        parts = [asking.estimated(teacher, making.question, prompts, many)]
        if options["judge"]:
            made = options["rows"] * (1 if options["how"] == NEW else rows)
            shown = [making.judged(one) for one in seeds_of(parent, options, most=LOOKED_AT)]
            parts.append(asking.estimated(teacher, making.judging, shown, made))
        return asking.together(parts) | {"rows": rows}

    # -- doing it ----------------------------------------------------------------------------------

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        """As they are: without a worker nobody is asked."""
        yield from parents[0].rows()

    def carried_out(
        self, parents: list[Parent], options: Mapping[str, Any], work: Work
    ) -> Iterator[StoredRow]:
        (parent,) = parents
        version = parent.version
        teacher = models.resolve(project=version.dataset.project, reference=options["teacher"])
        work.report |= {"teacher": teacher.reference, "how": options["how"]}
        making = Making(version, options)
        writer = writers.of(teacher, options, work)
        if options["how"] == ANSWERS:
            yield from _answered(parent, options, making, writer, work)
        else:
            made = MadeRows(parent, options, making, writer, work).rows()
            work.share = 0.95
            yield from parent.rows()
            yield from made


def _answered(
    parent: Parent,
    options: Mapping[str, Any],
    making: Making,
    writer: writers.Writer,
    work: Work,
) -> Iterator[StoredRow]:
    """The rows with their answers in place of their texts; what had no answer stays as it was."""
    ids = set(fitting(parent, options).tolist())
    work.report["rows"] = len(ids)
    had = bool(parent.version.column_of("prompt"))

    def prompts() -> Iterator[Prompt]:
        for row in parent.rows():
            if row["row_id"] in ids:
                yield from (one.prompt for one in making.of_row(row))

    said: dict[Any, Answer] = {}
    for answer in writer.answers(making.question, prompts(), len(ids)):
        said[answer.key] = answer
    writer.require_some(sum(one.is_answered for one in said.values()))
    work.share = 0.95
    for row in parent.rows():
        if not had:
            row["prompt"] = row["text"]
        if row["row_id"] in ids:
            found = said.get(row["row_id"])
            if found is None:
                row[REMARKS] = (asking.NOT_ASKED,)
            elif found.reason:
                row[REMARKS] = (f"not_answered_{found.reason}",)
            elif found.text.strip():
                row |= {"text": found.text.strip()[:MOST_TEXT], WHO: work.report["teacher"]}
        yield row
