"""The shapes of runs in REST, and the checks of what is sent about them."""

from typing import Any, ClassVar
from urllib.parse import quote

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from training.engine.config import OUTPUTS
from training.models import Artifact, Run, RunEvent, TrackedFile
from training.services import queue, run_search, runs, tracked_files

JSON_OBJECT = {"type": "object", "additionalProperties": True}
MOST_LINES = 5000  # sent at once
PRIORITIES = [one.label for one in Run.Priority]


class ProgressShape(serializers.Serializer[Any]):
    fraction = serializers.FloatField(help_text="Of the whole job, 0 to 1.")
    step = serializers.IntegerField()
    steps = serializers.IntegerField(allow_null=True)
    eta_seconds = serializers.FloatField(allow_null=True)


class PlaceShape(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Of the queue.")
    position = serializers.IntegerField(
        allow_null=True, help_text="1 is next. null: it waits for another run."
    )
    waiting_seconds = serializers.FloatField(
        allow_null=True, help_text="By the estimates of all before it; null where nobody knows."
    )
    said = serializers.CharField(help_text="Why it waits, in words.")


class ErrorShape(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class MemoryShape(serializers.Serializer[Any]):
    used = serializers.IntegerField(required=False, help_text="Bytes at the last sample.")
    peak = serializers.IntegerField(required=False, help_text="Bytes at most, of all samples.")
    free = serializers.IntegerField(required=False, help_text="Of the machine, at the last sample.")
    machine = serializers.IntegerField(required=False, help_text="Bytes that the machine has.")


class RunErrorShape(ErrorShape):
    cause = serializers.CharField(required=False, help_text="A finer word than the code.")
    title = serializers.CharField(required=False)
    step = serializers.IntegerField(required=False)
    steps = serializers.IntegerField(required=False, allow_null=True)
    attempt = serializers.IntegerField(required=False)
    memory = MemoryShape(required=False)
    advice = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="What to try, best first."
    )


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "string"]}})
class ValuesField(serializers.JSONField):
    """Numbers by name; those that are not finite are the words NaN, Infinity and -Infinity."""


@extend_schema_field(JSON_OBJECT)
class ObjectField(serializers.JSONField):
    pass


class RunShape(serializers.ModelSerializer[Run]):
    """What `run_representation` answers of a run; declared here for OpenAPI."""

    progress = ProgressShape(source="*", read_only=True)
    config = ObjectField(help_text="Complete, every reference pinned to a version.")
    origin = serializers.CharField(
        help_text="launched: a worker trains it; tracked: it is trained elsewhere."
    )
    dataset = serializers.CharField(
        source="dataset_version.reference", allow_null=True, help_text="Null of a tracked run."
    )
    student = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="A version, or run/12 while waiting; null of a tracked run.",
    )
    teachers = serializers.ListField(child=serializers.CharField(), read_only=True)
    output = serializers.CharField(
        source="output.reference", allow_null=True, help_text="The version that this run made."
    )
    metrics = ValuesField(help_text="The latest value of every series.")
    summary = ObjectField()
    comparison = ObjectField(allow_null=True, help_text="Against its control, on the same rows.")
    worker = serializers.CharField(source="worker.name", allow_null=True)
    error = RunErrorShape(allow_null=True, read_only=True)
    study = serializers.IntegerField(source="study.number", allow_null=True)
    control_of = serializers.IntegerField(
        source="control_of.number", allow_null=True, help_text="The run that this one controls."
    )
    control = serializers.IntegerField(
        allow_null=True, read_only=True, help_text="The control of this run."
    )
    waits_for = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    priority = serializers.CharField(read_only=True, help_text="low, normal or high.")
    queue = PlaceShape(
        allow_null=True, read_only=True, help_text="Where it stands; null once it began."
    )
    pausing = serializers.BooleanField(
        source="is_pausing", help_text="It writes a checkpoint, then it is paused."
    )
    actions = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="What may be asked of it now: pause, resume, retry, cancel, move.",
    )
    created_by = serializers.CharField(source="created_by.username")
    tags = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Run
        fields: ClassVar = [
            "number", "name", "status", "origin", "stage", "progress", "task", "config", "dataset",
            "student", "teachers", "output", "metrics", "summary", "comparison", "attempt",
            "worker", "error", "created_at", "started_at", "finished_at", "heard_at", "created_by",
            "notes", "tags", "colour", "archived_at", "study", "arm",
            "control_of", "control", "waits_for", "priority", "queue", "pausing", "actions",
        ]  # fmt: skip


class RunEventShape(serializers.ModelSerializer[RunEvent]):
    by = serializers.CharField(source="by.username", allow_null=True, default=None)

    class Meta:
        model = RunEvent
        fields: ClassVar = ["at", "kind", "sentence", "by"]


@extend_schema_field({"oneOf": [{"type": "string"}, JSON_OBJECT]})
class SchemeField(serializers.JSONField):
    pass


class StageShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200, required=False)
    losses = serializers.ListField(child=ObjectField())
    epochs = serializers.IntegerField(required=False, help_text="Without it, the run's.")
    learning_rate = serializers.FloatField(required=False, help_text="Without it, the run's.")


class ConfigurationShape(serializers.Serializer[Any]):
    """What OpenAPI says of a run configuration; the catalog (`methods/`) has every option, and
    `services.launching.launch` checks them."""

    name = serializers.CharField(max_length=200, required=False)
    task = serializers.CharField(
        help_text="A Hugging Face pipeline tag; `tasks` of `GET methods/` has them all."
    )
    dataset = serializers.CharField(help_text="name@3, or name for its newest version.")
    student = serializers.CharField(help_text="name@3, name@alias, name, or run/12.")
    teachers = serializers.ListField(
        child=serializers.JSONField(help_text='A reference, or {"model", "weight"}.'),
        required=False,
    )
    scheme = SchemeField(required=False, help_text="A key, or {kind, and its options}.")
    losses = serializers.ListField(
        child=ObjectField(),
        required=False,
        help_text='{"kind", "weight", "weight_schedule"?, "final_weight"?, and its options}',
    )
    stages = serializers.ListField(
        child=StageShape(),
        required=False,
        help_text='Of the scheme "staged", instead of losses: 1 to 8, in order.',
    )
    training = ObjectField(required=False)
    teacher_outputs = serializers.ChoiceField(OUTPUTS, required=False)
    top_k = serializers.IntegerField(
        required=False, help_text='Logits kept of each token where teacher_outputs is "top_k".'
    )
    control = serializers.BooleanField(required=False)
    exports = serializers.ListField(child=serializers.CharField(), required=False)
    resources = ObjectField(
        required=False,
        help_text="queue; gpus that it has to itself; memory_mib, where the estimate is wrong",
    )
    evaluation = ObjectField(
        required=False,
        help_text='{"slices": [a column, ...], "test": false where no test row is to be looked at}',
    )
    priority = serializers.ChoiceField(
        PRIORITIES, required=False, help_text="Not of the configuration: it may change later."
    )


def as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise serializers.ValidationError("It must be an object.")
    return value


class EditShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=runs.LONGEST_NAME, required=False)
    notes = serializers.CharField(
        max_length=runs.LONGEST_NOTES, required=False, allow_blank=True, trim_whitespace=False
    )
    tags = serializers.ListField(
        child=serializers.CharField(max_length=runs.LONGEST_TAG),
        max_length=runs.MOST_TAGS,
        required=False,
    )
    colour = serializers.CharField(
        max_length=7,
        required=False,
        allow_blank=True,
        help_text="In charts: one of the twenty that the refusal of another names; empty for that "
        "of its number.",
    )
    archived = serializers.BooleanField(
        required=False,
        help_text="Archive it with its controls, once it is over; or restore it.",
    )
    priority = serializers.ChoiceField(PRIORITIES, required=False)
    params = ObjectField(
        required=False, help_text="Of a tracked run: laid over the parameters that it has."
    )
    steps = serializers.IntegerField(
        min_value=1, max_value=2**53, required=False, help_text="Of a tracked run: it will take."
    )
    stage = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="Of a tracked run: it is at."
    )

    def validate_params(self, value: Any) -> dict[str, Any]:
        return as_object(value)


class RetryShape(serializers.Serializer[Any]):
    start = serializers.ChoiceField(
        ["checkpoint", "beginning"],
        default="checkpoint",
        help_text="From its newest verified checkpoint, or from the beginning.",
    )


class MoveShape(serializers.Serializer[Any]):
    to = serializers.ChoiceField(queue.MOVES, help_text="One up, one down, or to the front.")


class SearchShape(serializers.Serializer[Any]):
    """What a list of runs may be asked; anything else is refused by name."""

    status = serializers.CharField(
        required=False, help_text="One or several, separated by commas, or `active`."
    )
    tag = serializers.CharField(required=False, max_length=200)
    q = serializers.CharField(required=False, help_text="Words in names, notes and references.")
    study = serializers.CharField(required=False)
    archived = serializers.ChoiceField(
        run_search.ARCHIVED,
        required=False,
        help_text="Whether archived runs are told: `no` unless asked.",
    )
    filter = serializers.CharField(
        required=False, help_text="`metrics.val/accuracy > 0.9 and config.training.epochs = 5`"
    )
    order = serializers.CharField(
        required=False, help_text="`-created_at`, `-metrics.val/accuracy`, …"
    )
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    cursor = serializers.CharField(required=False)


class BasisShape(serializers.Serializer[Any]):
    memory = serializers.CharField(required=False)
    disk = serializers.CharField(required=False)
    steps = serializers.CharField(required=False)
    time = serializers.CharField(required=False)


class EstimatesShape(serializers.Serializer[Any]):
    memory_bytes = serializers.IntegerField(allow_null=True)
    disk_bytes = serializers.IntegerField(allow_null=True)
    steps = serializers.IntegerField(
        allow_null=True, help_text="Of all epochs, stages and generations; of the run alone."
    )
    windows = serializers.IntegerField(
        allow_null=True,
        help_text="Of an epoch, where texts are cut into windows: an estimate, and so are steps.",
    )
    seconds = serializers.FloatField(allow_null=True, help_text="The control's included.")
    seconds_range = serializers.ListField(
        child=serializers.FloatField(),
        allow_null=True,
        help_text="The least and the most that it will likely take.",
    )
    based_on = BasisShape(help_text="In words, what each is estimated from.")


class PreflightShape(serializers.Serializer[Any]):
    config = ObjectField(help_text="Complete, every reference pinned to a version.")
    estimates = EstimatesShape()
    warnings = serializers.ListField(child=serializers.CharField())


class MetricsQuery(serializers.Serializer[Any]):
    names = serializers.CharField(required=False, help_text="Separated by commas; all by default.")
    max_points = serializers.IntegerField(required=False, min_value=4, max_value=100_000)
    since_step = serializers.IntegerField(required=False, min_value=-1, max_value=2**62)


class SeriesShape(serializers.Serializer[Any]):
    steps = serializers.ListField(child=serializers.IntegerField())
    values = serializers.ListField(
        child=serializers.JSONField(help_text="A number, or NaN, Infinity, -Infinity as words.")
    )
    times = serializers.ListField(child=serializers.DateTimeField())
    count = serializers.IntegerField(help_text="Points that are stored.")
    thinned = serializers.BooleanField(help_text="Some stored points are not shown.")


class MetricsShape(serializers.Serializer[Any]):
    series = serializers.DictField(child=SeriesShape())


class SentLineShape(serializers.Serializer[Any]):
    text = serializers.CharField(allow_blank=True, max_length=20_000, trim_whitespace=False)
    level = serializers.ChoiceField(["info", "warning", "error", "output"], default="output")
    time = serializers.DateTimeField(required=False, help_text="Now, where it is left out.")


class SentLinesShape(serializers.Serializer[Any]):
    lines = serializers.ListField(child=SentLineShape(), max_length=MOST_LINES)


class SentShape(serializers.Serializer[Any]):
    received = serializers.IntegerField(help_text="Points of the batch.")


class SentSeriesShape(serializers.Serializer[Any]):
    steps = serializers.ListField(child=serializers.IntegerField(min_value=0))
    values = serializers.ListField(
        child=serializers.JSONField(help_text="A number, or NaN, Infinity, -Infinity as words.")
    )
    times = serializers.ListField(child=serializers.DateTimeField(), required=False)


class SentPointShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200)
    step = serializers.IntegerField(min_value=0, required=False, help_text="0 if left out.")
    value = serializers.JSONField(help_text="A number, or NaN, Infinity, -Infinity as words.")
    time = serializers.DateTimeField(
        required=False, help_text="Or seconds since the epoch; now, where it is left out."
    )


class SentPointsShape(serializers.Serializer[Any]):
    """Points one by one, or by series; `sent_points` reads them."""

    points = SentPointShape(many=True, required=False)
    series = serializers.DictField(child=SentSeriesShape(), required=False)


class LogsQuery(serializers.Serializer[Any]):
    after = serializers.IntegerField(
        required=False, min_value=0, max_value=2**62, help_text="The cursor of the last answer."
    )
    limit = serializers.IntegerField(required=False, min_value=1, max_value=5000)
    q = serializers.CharField(
        required=False,
        max_length=200,
        trim_whitespace=False,
        help_text="Only lines that hold these words, upper or lower case.",
    )
    attempt = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="Only lines of this attempt."
    )


class LineShape(serializers.Serializer[Any]):
    n = serializers.IntegerField()
    time = serializers.DateTimeField()
    level = serializers.CharField(
        help_text="info, warning, error; output: printed by a process; attempt: one begins here; "
        "cut: lines are missing here."
    )
    text = serializers.CharField()
    attempt = serializers.IntegerField()


class LogsShape(serializers.Serializer[Any]):
    lines = LineShape(many=True)
    cursor = serializers.IntegerField(help_text="The last line that was looked at.")
    more = serializers.BooleanField(help_text="There are more lines to look at already.")


class ArtifactShape(serializers.ModelSerializer[Artifact]):
    url = serializers.SerializerMethodField()

    class Meta:
        model = Artifact
        fields: ClassVar = ["name", "kind", "sha256", "bytes", "step", "created_at", "url"]

    @extend_schema_field({"type": "string", "format": "uri"})
    def get_url(self, artifact: Artifact) -> str:
        return self._url(artifact.name)

    def to_representation(self, instance: Artifact | TrackedFile) -> dict[str, Any]:
        if isinstance(instance, Artifact):
            return super().to_representation(instance)
        name = tracked_files.name(instance)
        return {
            "name": name,
            "kind": "tracked",
            "sha256": instance.sha256,
            "bytes": instance.bytes,
            "step": None,
            "created_at": serializers.DateTimeField().to_representation(instance.changed_at),
            "url": self._url(name),
        }

    def _url(self, name: str) -> str:
        prefix: str = self.context["prefix"]
        return prefix + quote(name)


class NodeShape(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="run/3, tickets@1, tiny@2, export/7")
    kind = serializers.ChoiceField(["run", "dataset", "model", "export", "alias", "monitor"])


class LineageShape(serializers.Serializer[Any]):
    nodes = NodeShape(many=True)
    complete = serializers.BooleanField(help_text="False where it was too large to tell all of it.")
    edges = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        help_text='{"from", "to", "as"}: what was used, by what, as what.',
    )


SOFT = {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0}
PARTS = {"task": "text-classification", "dataset": "banking77@1", "student": "tiny@1"}
#: Configurations that OpenAPI shows. A test launches each.
EXAMPLES: dict[str, dict[str, Any]] = {
    "Distil, with a control": {
        **PARTS,
        "teachers": ["minilm@2"],
        "losses": [SOFT, {"kind": "hard_labels", "weight": 0.1}],
        "training": {"epochs": 5},
        "control": True,
    },
    "Two students that teach each other": {
        **PARTS,
        "scheme": {"kind": "mutual", "students": 2},
        "losses": [{"kind": "hard_labels"}, {"kind": "soft_targets", "temperature": 1.0}],
    },
    "Layers first, then predictions": {
        **PARTS,
        "teachers": ["minilm@2"],
        "scheme": "staged",
        "stages": [
            {"name": "layers", "losses": [{"kind": "hidden_states"}], "epochs": 3},
            {"name": "predictions", "losses": [{**SOFT, "weight_schedule": "linear"}]},
        ],
    },
}
