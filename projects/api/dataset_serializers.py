"""What datasets, their versions and rows look like in JSON, and what an upload must bring."""

import io
import json
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from distillhub.lib.rest import SafeJSONParser
from projects.ingest.formats import PROBLEMS
from projects.models import Dataset, DatasetVersion
from projects.operations.conditions import Conditions
from projects.services import written
from projects.services.datasets import MOST_FILES
from projects.services.likeness import MOST_WORDS


class IssueSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    severity = serializers.ChoiceField(choices=["error", "warning", "info"])
    count = serializers.IntegerField(help_text="Rows, lines or files concerned.")
    rows = serializers.ListField(
        child=serializers.IntegerField(), help_text="The first 100 row ids, of rows that are kept."
    )
    places = serializers.ListField(
        child=serializers.CharField(), help_text="The first 100 lines or files that were left out."
    )
    detail = serializers.CharField()


class ErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    line = serializers.IntegerField(required=False)


ROLES = (
    *("id", "split", "label", "input", "prompt", "rationale", "feature", "measure", "source"),
    *("extra", "key", "group", "weight", "soft"),
)


class ColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField()
    role = serializers.ChoiceField(choices=ROLES)


class RemovedSerializer(serializers.Serializer[Any]):
    """What was deleted."""

    versions = serializers.IntegerField()
    bytes = serializers.IntegerField(
        help_text="Of files that nothing else names; storage frees them within a day."
    )


class DownloadQuerySerializer(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, Any]:  # `as` is a word of Python's
        forms = serializers.ChoiceField(
            choices=list(written.FORMS),
            default="parquet",
            help_text="csv and jsonl are without pictures and sounds, zip is these alone, in "
            "folders of their labels. In CSV what a spreadsheet takes for a formula begins with '.",
        )
        return {"as": forms}


class ProgressSerializer(serializers.Serializer[Any]):
    stage = serializers.CharField()
    fraction = serializers.FloatField()


class SplitSerializer(serializers.Serializer[Any]):
    rows = serializers.IntegerField()
    label_counts = serializers.DictField(child=serializers.IntegerField())


class VersionSummarySerializer(serializers.ModelSerializer[DatasetVersion]):
    """A version as it stands in a list."""

    name = serializers.CharField(source="dataset.name", read_only=True)
    version = serializers.IntegerField(source="number", read_only=True)
    reference = serializers.CharField(read_only=True)
    told = serializers.CharField(
        read_only=True, help_text="What it is: what was uploaded, or how it was changed."
    )
    task = serializers.CharField(source="dataset.task", read_only=True)
    problem = serializers.ChoiceField(
        choices=PROBLEMS,
        read_only=True,
        help_text="What a label is: one class, any number of them, or a number.",
    )
    status = serializers.ChoiceField(choices=DatasetVersion.Status.choices, read_only=True)
    progress = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    splits = serializers.SerializerMethodField(help_text="Rows of each split.")
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = DatasetVersion
        fields: ClassVar = [
            "name",
            "version",
            "reference",
            "told",
            "task",
            "problem",
            "status",
            "progress",
            "error",
            "rows",
            "splits",
            "fingerprint",
            "created_by",
            "created_at",
            "ready_at",
        ]
        read_only_fields: ClassVar = fields

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, version: DatasetVersion) -> dict[str, Any]:
        return {"stage": version.stage, "fraction": version.fraction}

    @extend_schema_field(
        {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"rows": {"type": "integer"}},
                "required": ["rows"],
            },
        }
    )
    def get_splits(self, version: DatasetVersion) -> dict[str, Any]:
        return {name: {"rows": split["rows"]} for name, split in version.splits.items()}

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, version: DatasetVersion) -> Any:
        return version.error


class VersionSerializer(VersionSummarySerializer):
    splits = serializers.DictField(child=SplitSerializer(), read_only=True)  # type: ignore[assignment]
    columns = serializers.ListField(child=ColumnSerializer(), read_only=True)
    features = serializers.DictField(
        child=serializers.ChoiceField(choices=("numeric", "categorical")),
        read_only=True,
        help_text="The columns that a table's model learns from.",
    )
    labels = serializers.ListField(child=serializers.CharField(), read_only=True)
    issues = serializers.ListField(child=IssueSerializer(), read_only=True)
    statistics = serializers.JSONField(read_only=True)
    reading = serializers.JSONField(read_only=True, help_text="How the upload was read.")
    source = serializers.SerializerMethodField()  # type: ignore[assignment]  # DRF's own attribute
    sha256 = serializers.CharField(source="file_sha256", read_only=True)
    size_bytes = serializers.IntegerField(source="file_bytes", read_only=True)
    parent = serializers.SerializerMethodField()  # type: ignore[assignment]  # likewise
    operation = serializers.JSONField(read_only=True, allow_null=True)

    class Meta(VersionSummarySerializer.Meta):
        fields: ClassVar = [
            *VersionSummarySerializer.Meta.fields,
            "columns",
            "features",
            "labels",
            "issues",
            "statistics",
            "format",
            "reading",
            "source",
            "sha256",
            "size_bytes",
            "parent",
            "operation",
        ]
        read_only_fields: ClassVar = fields

    @extend_schema_field(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "sha256": {"type": "string"},
                "bytes": {"type": "integer"},
            },
        }
    )
    def get_source(self, version: DatasetVersion) -> dict[str, Any]:
        return {
            "name": version.source_name,
            "sha256": version.source_sha256,
            "bytes": version.source_bytes,
        }

    @extend_schema_field({"type": ["integer", "null"]})
    def get_parent(self, version: DatasetVersion) -> int | None:
        return version.parent.number if version.parent else None


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    latest = serializers.SerializerMethodField(help_text="The newest version.")

    class Meta:
        model = Dataset
        fields: ClassVar = ["name", "task", "description", "created_by", "created_at", "latest"]
        read_only_fields: ClassVar = fields

    @extend_schema_field(VersionSummarySerializer(allow_null=True))
    def get_latest(self, dataset: Dataset) -> Any:
        newest: list[DatasetVersion] = getattr(dataset, "newest", [])
        return VersionSummarySerializer(newest[0]).data if newest else None


@extend_schema_field(OpenApiTypes.OBJECT)
class JSONPart(serializers.CharField):
    """A part of a multipart body that holds a JSON object."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):  # the whole body is JSON
            return data
        text = super().to_internal_value(data)
        try:
            value = SafeJSONParser().parse(io.BytesIO(text.encode()))
        except (ParseError, UnicodeEncodeError):
            raise serializers.ValidationError("This is not valid JSON.") from None
        if not isinstance(value, dict):
            raise serializers.ValidationError("This must be a JSON object.")
        return value

    def to_representation(self, value: Any) -> Any:
        return json.dumps(value)


class Uploads(serializers.ListField):
    """Finished resumable uploads: one id, or several."""

    child = serializers.UUIDField()

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value([data] if isinstance(data, str) else data)


class HubSerializer(serializers.Serializer[Any]):
    """A dataset of the Hugging Face hub, or of the mirror that HF_ENDPOINT names."""

    id = serializers.CharField(max_length=200, help_text="Such as `PolyAI/banking77`.")
    revision = serializers.CharField(
        max_length=200,
        required=False,
        help_text="A branch, a tag or a commit; `main` if left out. What is fetched is the commit "
        "that it means now.",
    )
    config = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="Where there are several."
    )
    splits = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        max_length=20,
        help_text="Those called train, validation and test if left out; of these names with more "
        "words, such as `train_sft`, too.",
    )


@extend_schema_field(HubSerializer)
class HubPart(JSONPart):
    """The same as a part of a multipart body, or as an object."""

    def to_internal_value(self, data: Any) -> Any:
        shape = HubSerializer(data=super().to_internal_value(data))
        shape.is_valid(raise_exception=True)
        return shape.validated_data


class NextVersionSerializer(serializers.Serializer[Any]):
    """An upload that becomes a version."""

    file = serializers.FileField(
        required=False,
        help_text="A table (CSV, TSV, JSON, JSON Lines with chats and calls of models, Parquet, "
        "Arrow, Excel), words with tags (CoNLL), running text, or a zip or tar of images or sounds "
        "in class folders; any of them also compressed with gzip.",
    )
    upload = Uploads(
        required=False,
        max_length=MOST_FILES,
        help_text="In place of `file`: the id of a finished resumable upload (`uploads/`), or "
        "several of them. They are used up by it.",
    )
    hub = HubPart(
        required=False,
        help_text="In place of `file`: a dataset of the Hugging Face hub, which a worker fetches. "
        "A new dataset needs a `task`.",
    )
    test_file = serializers.FileField(
        required=False, help_text="A second file of the same kind: the split `test`."
    )
    columns = JSONPart(
        required=False,
        help_text='JSON: `{"text": "query", "label": "category"}`; also `split`, `id`, `group`, '
        "`weight`, `soft_labels` (from labels to columns of their probabilities, or what the "
        "names of these begin with, such as `p_`) and `ignored`; a `label` of null says that "
        'there is none. Of a table: `{"label": "income", "features": {"age": "numeric", "work": '
        '"categorical"}}`.',
    )
    problem = serializers.ChoiceField(
        choices=PROBLEMS,
        required=False,
        help_text="What a label is; guessed if left out, and as in the version before.",
    )
    splits = JSONPart(
        required=False,
        help_text='JSON, for splits made here: `{"train": 0.8, "validation": 0.1, "test": 0.1, '
        '"seed": 0}`.',
    )
    reading = JSONPart(
        required=False,
        help_text="JSON, to correct what would be guessed: `delimiter`, `encoding`, `header`, "
        "`quoting`, `layout` (of objects), `sheet` (of a workbook), `at` (the list of a JSON "
        "document), `ragged`, `separator` (between several labels of a row), `tag_names` (of "
        "words' tags that are numbers), `labels` (that rows may come to have), ...",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if sum(bool(attrs.get(name)) for name in ("file", "upload", "hub")) != 1:
            sentence = "Send a file, or name an upload or a dataset of the hub."
            raise serializers.ValidationError({"file": [sentence]})
        if attrs.get("hub") and attrs.get("test_file"):
            sentence = "A dataset of the hub has its own test split."
            raise serializers.ValidationError({"test_file": [sentence]})
        return attrs


class UploadSerializer(NextVersionSerializer):
    name = serializers.CharField(max_length=100)
    task = serializers.CharField(
        max_length=50,
        required=False,
        allow_blank=True,
        default="",
        help_text="Guessed from the file if left out.",
    )
    description = serializers.CharField(max_length=2000, allow_blank=True, default="")


class RowsSerializer(serializers.Serializer[Any]):
    """A page of rows; besides these keys every kept column stands under its own name."""

    results = serializers.ListField(child=serializers.JSONField())
    count = serializers.IntegerField(help_text="How many rows match.")
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class EstimateSerializer(serializers.Serializer[Any]):
    """What a change will take; nothing of it, of one that asks nobody. Money as text."""

    rows = serializers.IntegerField(required=False, help_text="That a teacher is asked about.")
    asked = serializers.IntegerField(required=False, help_text="Requests still to be sent.")
    cached = serializers.IntegerField(
        required=False, help_text="Requests that were answered before, and cost nothing."
    )
    input_tokens = serializers.IntegerField(required=False)
    output_tokens = serializers.IntegerField(required=False)
    cost = serializers.CharField(required=False, help_text="What it will probably cost.")
    most = serializers.CharField(required=False, help_text="What it can cost.")
    seconds = serializers.FloatField(
        required=False, allow_null=True, help_text="None where nobody knows."
    )
    note = serializers.CharField(required=False)


class RowsQuerySerializer(serializers.Serializer[Any]):
    """The conditions of operations/conditions.py, and which page in which order."""

    sort = serializers.CharField(
        max_length=200,
        required=False,
        help_text="A column, or `length` of the text; a minus before it turns the order round.",
    )
    like = serializers.IntegerField(
        min_value=0,
        max_value=2**53,
        required=False,
        help_text="A row: those nearest to it in meaning come first, itself among them, and each "
        "has its `similarity`, a cosine. The version needs a map.",
    )
    meaning = serializers.CharField(
        max_length=MOST_WORDS,
        required=False,
        help_text="Words: likewise, of texts, by the built-in map.",
    )
    map = serializers.CharField(
        max_length=200,
        required=False,
        help_text="By which map: a model such as `minilm@2`, or `built-in`; the newest if left "
        "out.",
    )
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)
    offset = serializers.IntegerField(min_value=0, max_value=2**53, default=0)

    def get_fields(self) -> dict[str, Any]:
        return Conditions().get_fields() | super().get_fields()
