"""The policy of a monitor: what opens a retraining, of which rows, with which labels, and when the
challenger becomes the champion.

    {"on_incident": true, "every_days": null, "starts_itself": false,
     "rows": 1000, "least_rows": 50, "days": 30, "keep_old": 1.0, "test_share": 0.3,
     "validation_share": 0.1, "by_chance": 0.5,
     "teacher": "", "budget": "1.00", "review_rows": 0, "control": true,
     "max_old_loss": 0.02, "min_new_gain": 0.0, "asks": true, "alias": ""}

It stands in `Monitor.retraining`; what is left out there is as above. A retraining keeps the policy
under which it began.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from distillhub.lib.errors import Invalid
from distillhub.templatetags import ui
from training.models import Monitor

JSON = dict[str, Any]
MOST_ROWS = 10_000


class PolicyShape(serializers.Serializer[Any]):
    on_incident = serializers.BooleanField(
        default=True,
        help_text="An incident proposes one, where it is about more than inputs: agreement with "
        "the teacher, accuracy, whose fault it is, or errors as they come.",
    )
    every_days = serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=1,
        max_value=366,
        help_text="Days after which one is proposed in any case; none: never.",
    )
    starts_itself = serializers.BooleanField(
        default=False,
        help_text="What is proposed begins at once, without a person; teachers then cost what "
        "they cost.",
    )
    rows = serializers.IntegerField(
        default=1000, min_value=20, max_value=MOST_ROWS, help_text="Live rows that are taken."
    )
    least_rows = serializers.IntegerField(
        default=50, min_value=1, max_value=MOST_ROWS, help_text="Fewer are not worth a training."
    )
    days = serializers.IntegerField(
        default=30,
        min_value=1,
        max_value=366,
        help_text="How far back rows are taken where no incident says since when.",
    )
    keep_old = serializers.FloatField(
        default=1.0,
        min_value=0.0,
        max_value=1.0,
        help_text="The share of the champion's training rows that is learnt from again. Its "
        "validation and test rows all stay.",
    )
    test_share = serializers.FloatField(
        default=0.3,
        min_value=0.05,
        max_value=0.8,
        help_text="Of the live rows, kept apart as the test of the new world: drawn by chance.",
    )
    validation_share = serializers.FloatField(default=0.1, min_value=0.0, max_value=0.4)
    by_chance = serializers.FloatField(
        default=0.5,
        min_value=0.0,
        max_value=1.0,
        help_text="Of the live rows to learn from, drawn by chance; the others come first where "
        "teacher or label contradict the model, where a row is foreign or the model unsure.",
    )
    teacher = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=220,
        help_text="Who labels rows for which no label came, such as big@1; empty: the monitor's "
        "teacher, else the one that taught the champion. A label that came always counts more.",
    )
    budget = serializers.DecimalField(
        default=Decimal("1.00"),
        max_digits=12,
        decimal_places=6,
        min_value=Decimal("0.000001"),
        help_text="What a teacher behind an API may cost at most, in the currency of its prices.",
    )
    review_rows = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=2000,
        help_text="Live rows that people check before anything is trained; 0: none.",
    )
    control = serializers.BooleanField(
        default=True,
        help_text="Where teachers teach the challenger, the same student is trained on the "
        "labels of the same rows alone beside it.",
    )
    max_old_loss = serializers.FloatField(
        default=0.02,
        min_value=0.0,
        max_value=1.0,
        help_text="How much worse than the champion it may be on the old test rows, at the worse "
        "end of the 95 % interval: 0.02 is two points of accuracy; of an error, a share of the "
        "champion's.",
    )
    min_new_gain = serializers.FloatField(
        default=0.0,
        min_value=0.0,
        max_value=1.0,
        help_text="How much better it must be on the live test rows: the worse end of the 95 % "
        "interval is above this.",
    )
    asks = serializers.BooleanField(
        default=True, help_text="A person decides; else the gate alone does."
    )
    alias = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text="The alias that moves; empty: the one that the monitor follows, else production.",
    )


KNOWN = tuple(PolicyShape().fields)


def complete(asked: Any) -> JSON:
    """The policy as it is kept. Raises Invalid naming every fault."""
    if not isinstance(asked, Mapping):
        raise Invalid('A policy is an object such as {"rows": 1000}.')
    faults = {
        str(name): [f"A policy has no such key; there are {', '.join(KNOWN)}."]
        for name in asked
        if name not in KNOWN
    }
    shape = PolicyShape(data=dict(asked))
    shape.is_valid()
    faults |= {str(name): [str(one) for one in said] for name, said in shape.errors.items()}
    found = dict(shape.validated_data) if not shape.errors else {}
    if found:
        found["budget"] = str(found["budget"])
        if found["least_rows"] > found["rows"]:
            faults["least_rows"] = ["It cannot be more than the rows that are taken."]
        if found["test_share"] + found["validation_share"] > 0.9:
            sentence = "At least a tenth of the live rows must be left to learn from."
            faults["test_share"] = [sentence]
        for name in ("keep_old", "test_share", "validation_share", "by_chance"):
            if found[name] != found[name]:
                faults[name] = ["It must be a number."]
    if faults:
        first = next(iter(faults))
        raise Invalid(f"{first}: {faults[first][0]}", fields=faults)
    return found


def of(monitor: Monitor) -> JSON:
    """Its policy, with every default. What an earlier version of the program kept and this one does
    not know is left out."""
    kept = monitor.retraining if isinstance(monitor.retraining, Mapping) else {}
    return complete({name: value for name, value in kept.items() if name in KNOWN})


def alias_of(monitor: Monitor, policy: Mapping[str, Any]) -> str:
    return str(policy["alias"] or monitor.alias or "production")


def told(monitor: Monitor, policy: Mapping[str, Any]) -> list[str]:
    """The policy in sentences."""
    return [_opens(policy), _data(policy), _labels(policy), _run(policy), _gate(monitor, policy)]


def _opens(policy: Mapping[str, Any]) -> str:
    when = []
    if policy["on_incident"]:
        when.append("an incident about more than inputs")
    if policy["every_days"]:
        many = policy["every_days"]
        when.append("every day" if many == 1 else f"every {many} days")
    if not when:
        return "Only a person begins one."
    does = "begins one by itself" if policy["starts_itself"] else "proposes one to people"
    named = " and ".join(when)
    return f"{named[:1].upper()}{named[1:]} {does}; never while a data-quality alert is open."


def _data(policy: Mapping[str, Any]) -> str:
    kept = "all" if policy["keep_old"] == 1 else ui.percent(policy["keep_old"], 0)
    return (
        f"Up to {ui.grouped(policy['rows'])} live rows, and at least "
        f"{ui.grouped(policy['least_rows'])}: {ui.percent(policy['test_share'], 0)} of them are "
        f"kept apart as a test of the new world, {ui.percent(policy['validation_share'], 0)} for "
        f"validation. {ui.percent(policy['by_chance'], 0)} of the others are drawn by chance, the "
        f"rest where there is most to learn. Beside them {kept} of the champion's rows."
    )


def _labels(policy: Mapping[str, Any]) -> str:
    who = policy["teacher"] or "the teacher"
    said = f"A label that came counts; else {who} labels the row"
    if many := policy["review_rows"]:
        rows = "1 row" if many == 1 else f"{ui.grouped(many)} rows"
        return f"{said}, and people check {rows} first."
    return f"{said}."


def _run(policy: Mapping[str, Any]) -> str:
    beside = (
        "with a control on labels alone, where teachers teach it"
        if policy["control"]
        else "without a control"
    )
    return f"The champion's configuration on these rows, {beside}."


def _gate(monitor: Monitor, policy: Mapping[str, Any]) -> str:
    loss, gain = _margin(monitor, policy["max_old_loss"]), policy["min_new_gain"]
    better = f"better by more than {_margin(monitor, gain)}" if gain else "surely better"
    alias = alias_of(monitor, policy)
    who = "and a person decides" if policy["asks"] else "and it is promoted without asking anybody"
    return (
        f"It may be worse by at most {loss} on the old test rows, must be {better} on the "
        f"live ones (95 % intervals), must keep the rules of {alias}, {who}."
    )


def _margin(monitor: Monitor, asked: float) -> str:
    """Of accuracy points, of an error a share of the champion's (retraining/judging.py)."""
    if not monitor.labels:
        return f"{ui.percent(asked, 1)} of the champion's error"
    points = f"{asked * 100:.1f}".removesuffix(".0")
    return f"{points} point{'' if points == '1' else 's'} of accuracy"
