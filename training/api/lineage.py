"""Where versions of models come from."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.api.models import ModelMixin
from training.api.run_serializers import LineageShape
from training.services import lineage


class VersionLineage(ModelMixin, APIView):
    """The graph of a version, back to its data and on to what came of it."""

    @extend_schema(
        operation_id="model_versions_lineage",
        summary="Where a version comes from, and what came of it",
        responses=LineageShape,
    )
    def get(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        return Response(lineage.of_version(version=self.version()))
