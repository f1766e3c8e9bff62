"""The shapes of models and their versions in REST."""

import json
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from distillhub.lib.errors import Invalid
from projects.models import ApiKey, ModelAlias, ModelVersion, RegisteredModel
from training.services import api_teachers

JSON_OBJECT = {"type": "object", "additionalProperties": True}


def versions() -> QuerySet[ModelVersion]:
    """With everything that their shape shows."""
    return ModelVersion.objects.select_related(
        "model", "created_by", "produced_by"
    ).prefetch_related("aliases", "model__api_keys")


class AliasShape(serializers.ModelSerializer[ModelAlias]):
    version = serializers.IntegerField(source="version.number")

    class Meta:
        model = ModelAlias
        fields: ClassVar = ["name", "version", "changed_at"]


class FileShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    sha256 = serializers.CharField()
    bytes = serializers.IntegerField()


class KeyShape(serializers.ModelSerializer[ApiKey]):
    class Meta:
        model = ApiKey
        fields: ClassVar = ["origin", "ending", "changed_at"]


class VersionShape(serializers.ModelSerializer[ModelVersion]):
    name = serializers.CharField(source="model.name")
    reference = serializers.CharField()
    version = serializers.IntegerField(source="number")
    role = serializers.CharField(source="model.role")
    task = serializers.CharField(source="model.task")
    labels = serializers.ListField(child=serializers.CharField())
    files = FileShape(many=True)
    run = serializers.SerializerMethodField(help_text="The number of the run that made it.")
    aliases = serializers.SerializerMethodField()
    key = serializers.SerializerMethodField(
        help_text="Of a source of kind api: for where, and its last four characters."
    )
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = ModelVersion
        fields: ClassVar = [
            "name", "reference", "version", "role", "task", "status", "error", "source",
            "architecture", "config", "labels", "problem", "tokenizer", "parameters", "size_bytes",
            "files", "run", "metrics", "aliases", "key", "created_by", "created_at",
        ]  # fmt: skip

    @extend_schema_field({"type": ["integer", "null"]})
    def get_run(self, version: ModelVersion) -> int | None:
        made_by = getattr(version, "produced_by", None)
        number: int | None = made_by.number if made_by else version.source.get("run")
        return number

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_aliases(self, version: ModelVersion) -> list[str]:
        return [alias.name for alias in version.aliases.all()]

    @extend_schema_field(KeyShape(allow_null=True))
    def get_key(self, version: ModelVersion) -> Any:
        kept = api_teachers.key_of(version)
        return None if kept is None else KeyShape(kept).data


class ModelShape(serializers.ModelSerializer[RegisteredModel]):
    aliases = serializers.SerializerMethodField(help_text="{alias: version number}")
    versions = serializers.SerializerMethodField(help_text="All, newest first.")
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = RegisteredModel
        fields: ClassVar = [
            "name", "role", "task", "description", "aliases", "versions", "created_by",
            "created_at",
        ]  # fmt: skip

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
    def get_aliases(self, model: RegisteredModel) -> dict[str, int]:
        return {alias.name: alias.version.number for alias in model.aliases.all()}

    @extend_schema_field(VersionShape(many=True))
    def get_versions(self, model: RegisteredModel) -> Any:
        fetched = getattr(model, "_prefetched_objects_cache", {})
        rows = model.versions.all() if "versions" in fetched else versions().filter(model=model)
        return VersionShape(rows, many=True).data


@extend_schema_field(
    JSON_OBJECT
    | {
        "description": "`kind` and what belongs to it: `architecture {architecture, config, "
        "initialise_from?}`, `derived {from, method, options, dataset?}`, `export {export}`, "
        "`hub {id, revision}`, `upload` (multipart), `run {run}`, `api {api, base_url, model, key, "
        "region, headers, key_header, input_price, output_price, requests_per_minute, concurrency, "
        "timeout, temperature, max_tokens}`, `column {dataset, column? | columns?}`, `ensemble "
        "{members, weights?}` (docs/teachers.md).",
        "required": ["kind"],
    }
)
class SourceField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str):  # a part of a multipart body
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                raise serializers.ValidationError("This is not JSON.") from None
        if not isinstance(data, dict):
            raise serializers.ValidationError('It is an object with a "kind".')
        return data


class NewVersion(serializers.Serializer[Any]):
    source = SourceField(required=False)  # type: ignore[assignment]  # Field has a source too

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """What was asked, as keyword arguments of the services: `files` is the uploaded zip."""
        shape = cls(data=request.data)
        shape.is_valid(raise_exception=True)
        asked = dict(shape.validated_data)
        uploaded = request.FILES.get("file")
        if uploaded is not None:
            asked.setdefault("source", {"kind": "upload"})
            if asked["source"].get("kind") != "upload":
                sentence = "A file belongs to a source of kind upload."
                raise Invalid(sentence, fields={"file": [sentence]})
        if "source" not in asked:
            sentence = "Say where the model comes from."
            raise Invalid(sentence, fields={"source": [sentence]})
        return asked | {"files": uploaded}


class NewModel(NewVersion):
    name = serializers.CharField(max_length=100)
    role = serializers.ChoiceField(RegisteredModel.ModelRole.choices)
    task = serializers.CharField(max_length=50)
    description = serializers.CharField(max_length=2000, default="", allow_blank=True)


class NewUploadedVersion(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="A zip of config.json, model.safetensors, tokenizer.")


class NewUploadedModel(NewUploadedVersion):
    name = serializers.CharField(max_length=100)
    role = serializers.ChoiceField(RegisteredModel.ModelRole.choices)
    task = serializers.CharField(max_length=50)
    description = serializers.CharField(max_length=2000, required=False)


class ModelChange(serializers.Serializer[Any]):
    description = serializers.CharField(max_length=2000, allow_blank=True)


class KeyChange(serializers.Serializer[Any]):
    key = serializers.CharField(max_length=4000, write_only=True, help_text="Never shown again.")


class AliasChange(serializers.Serializer[Any]):
    version = serializers.IntegerField(min_value=1)
