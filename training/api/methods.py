"""The catalog of methods: what can be asked of a run, with options, limits, formulas, papers."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training import catalog

CATALOG: dict[str, Any] = {"type": "object", "additionalProperties": True}


class Methods(APIView):
    @extend_schema(
        responses={200: OpenApiResponse(CATALOG)},
        summary="Losses, schemes, tasks, architectures, optimizers, schedules",
    )
    def get(self, request: Request) -> Response:
        return Response(catalog.methods())
