"""What REST says of a sweep."""

from typing import Any, ClassVar

from rest_framework import serializers

from training.api.run_serializers import ObjectField
from training.models import Trial
from training.services import sweeps


class BestShape(serializers.Serializer[Any]):
    trial = serializers.IntegerField()
    run = serializers.IntegerField(allow_null=True, help_text="Null where it was deleted.")
    value = serializers.FloatField()
    parameters = ObjectField()


class SweepShape(serializers.Serializer[Any]):
    metric = serializers.CharField(help_text="Of validation rows, by which trials are judged.")
    falls = serializers.BooleanField(help_text="Whether less of it is better.")
    sampler = serializers.ChoiceField(sweeps.SAMPLERS)
    pruning = serializers.BooleanField()
    control = serializers.BooleanField()
    seed = serializers.IntegerField()
    at_once = serializers.IntegerField()
    trials = serializers.IntegerField(help_text="Of each way of training.")
    stopped = serializers.BooleanField()
    space = ObjectField(help_text="As asked, references pinned.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="By state.")
    budgets = serializers.DictField(
        child=serializers.IntegerField(), help_text="Trials that each way of training has had."
    )
    best = serializers.DictField(child=BestShape(), help_text="So far, by way of training.")
    importance = serializers.DictField(
        child=serializers.FloatField(), help_text="Share of each option, once it is over."
    )
    tested_by = serializers.ListField(
        child=serializers.IntegerField(), help_text="Studies in which its best was tested."
    )


class TrialShape(serializers.ModelSerializer[Trial]):
    run = serializers.SerializerMethodField()
    state = serializers.ChoiceField(Trial.State.values)
    parameters = ObjectField()
    curve = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="The metric after each epoch."
    )

    class Meta:
        model = Trial
        fields: ClassVar = [
            "number", "arm", "state", "value", "parameters", "run", "curve", "told", "created_at",
        ]  # fmt: skip

    def get_run(self, trial: Trial) -> int | None:
        return None if trial.run is None else trial.run.number


class AddShape(serializers.Serializer[Any]):
    trials = serializers.IntegerField(help_text="How many more of each way of training.")


class ConfirmShape(serializers.Serializer[Any]):
    seeds = serializers.JSONField(
        required=False, help_text="How many, 1 to 10, or a list of them; else the sweep's own."
    )
