"""The rules of an alias: what a version must be worth before the alias may mean it.

    {"min_retention": 0.95, "min_score": 0.9, "max_loss": 0.01, "max_slice_loss": 0.05,
     "form": "onnx", "batch": 1, "max_latency_ms": 5.0, "max_size_bytes": 1000000,
     "needs_export": true, "not_hurt": true}

What is left out is not asked. `form` is the export that is shipped, "" the network itself.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from distillhub.lib.errors import Invalid
from training import catalog
from training.engine.export_config import FALLING

JSON = dict[str, Any]

BATCHES = (1, 32)  # that exports are measured at


class RulesShape(serializers.Serializer[Any]):
    min_retention = serializers.FloatField(
        required=False,
        min_value=0.0,
        max_value=2.0,
        help_text="Share of the teacher's score on the test rows that the student keeps at least.",
    )
    min_score = serializers.FloatField(
        required=False,
        help_text="What the task is judged by, on the test rows, at least; of an error, at most.",
    )
    max_loss = serializers.FloatField(
        required=False,
        min_value=0.0,
        help_text="How much worse than the champion it may be on the rows both were tested on: the "
        "unfavourable end of the 95 % interval counts. 0.01 is a point of accuracy; of numbers a "
        "squared error, of texts bits a character.",
    )
    max_slice_loss = serializers.FloatField(
        required=False,
        min_value=0.0,
        help_text="How much worse than the champion it may be on any saved slice; slices of fewer "
        "than 20 shared rows are told and not counted.",
    )
    form = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=50,
        help_text="The export that latency and size are asked of, such as onnx; empty: the network "
        "itself, in PyTorch.",
    )
    batch = serializers.ChoiceField(
        BATCHES, required=False, default=1, help_text="Rows at once, of the latency."
    )
    max_latency_ms = serializers.FloatField(
        required=False,
        min_value=0.0,
        help_text="Milliseconds, of the 95th percentile on the machine that measured it.",
    )
    max_size_bytes = serializers.IntegerField(
        required=False, min_value=1, help_text="Of the weights, in that form."
    )
    needs_export = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Whether that form must be made, held against the network, and recommended.",
    )
    not_hurt = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Whether a verdict is needed that the teacher did not hurt.",
    )


KNOWN = tuple(RulesShape().fields)
#: Of them, what asks something by itself; form and batch say of what.
ASKING = (
    *("min_retention", "min_score", "max_loss", "max_slice_loss", "max_latency_ms"),
    *("max_size_bytes", "needs_export", "not_hurt"),
)
COMPARING = ("max_loss", "max_slice_loss")  # that need a champion
LABELS = {
    "min_retention": "Retention",
    "min_score": "Score",
    "max_loss": "Against the champion",
    "max_slice_loss": "No slice much worse",
    "max_latency_ms": "Latency",
    "max_size_bytes": "Size",
    "needs_export": "Checked export",
    "not_hurt": "Verdict",
}


def complete(asked: Any, *, task: str) -> JSON:
    """The rules as they are kept. Raises Invalid naming every fault."""
    if not isinstance(asked, Mapping):
        raise Invalid('Rules are an object such as {"min_retention": 0.95}.')
    unknown = {
        str(name): [f"There is no such rule; there are {', '.join(KNOWN)}."]
        for name in asked
        if name not in KNOWN
    }
    shape = RulesShape(data={name: value for name, value in asked.items() if value is not None})
    shape.is_valid()
    faults = unknown | {
        str(name): [str(one) for one in sentences] for name, sentences in shape.errors.items()
    }
    rules = dict(shape.validated_data) if not shape.errors else {}
    if rules.get("form"):
        found = catalog.find("exporters", rules["form"])
        if found is None or task not in found["tasks"]:
            faults["form"] = [f"There is no export {rules['form']} for {task}."]
    if rules.get("needs_export") and not rules.get("form"):
        faults["needs_export"] = ["Say in `form` which export must have been made."]
    for name in ("min_retention", "min_score", "max_loss", "max_slice_loss", "max_latency_ms"):
        value = rules.get(name)
        if value is not None and value - value != 0:
            faults[name] = ["It must be a number."]
    if not faults and not any(rules.get(name) not in (None, False) for name in ASKING):
        sentence = "Ask for something: rules that ask nothing would let everything pass."
        raise Invalid(sentence, fields={"rules": [sentence]})
    if faults:
        first = next(iter(faults))
        raise Invalid(f"{first}: {faults[first][0]}", fields=faults)
    return rules


def falls(metric: str) -> bool:
    """Whether less of it is better."""
    return metric in FALLING
