"""The shapes of exports in REST."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from training.api.model_serializers import FileShape
from training.api.run_serializers import ErrorShape, ObjectField
from training.models import Export


class CompressShape(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="low-rank, structured-pruning, … (methods/).")
    options = ObjectField(required=False)


class NewExport(serializers.Serializer[Any]):
    """What OpenAPI says; the catalog (`methods/`) has every option, and `services.exports.make`
    checks them."""

    format = serializers.CharField(help_text="safetensors, onnx, onnx-int8, … (methods/).")
    options = ObjectField(required=False)
    compress = CompressShape(required=False, allow_null=True)
    dataset = serializers.CharField(
        required=False,
        help_text="Whose rows calibrate, train and judge it; the run's by default.",
    )
    teacher = serializers.CharField(
        required=False,
        help_text="For compressors that train; the run's by default, else labels are used.",
    )


class ExportShape(serializers.ModelSerializer[Export]):
    model = serializers.CharField(source="version.reference")
    options = ObjectField()
    compress = CompressShape(allow_null=True)
    dataset = serializers.CharField(source="dataset_version.reference")
    teacher = serializers.CharField(source="teacher.reference", allow_null=True, default=None)
    error = ErrorShape(allow_null=True)
    files = FileShape(many=True)
    report = ObjectField(
        allow_null=True,
        help_text="agreement, difference, metric, size, latency_ms, speed_up, recommended and a "
        "sentence.",
    )
    download = serializers.SerializerMethodField(help_text="Where its files are, once ready.")
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = Export
        fields: ClassVar = [
            "id", "model", "format", "options", "compress", "dataset", "teacher", "status", "stage",
            "error", "files", "size_bytes", "report", "download", "created_by", "created_at",
            "finished_at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields

    @extend_schema_field({"type": ["string", "null"], "format": "uri"})
    def get_download(self, export: Export) -> str | None:
        if export.status != Export.Status.READY:
            return None
        model = export.version.model
        return str(
            reverse(
                "api_export_download",
                kwargs={
                    "project_slug": model.project.slug,
                    "model_name": model.name,
                    "number": export.version.number,
                    "export_id": export.pk,
                },
                request=self.context.get("request"),
            )
        )
