"""The inbox of calls through REST: our own shape, and OpenAI's for those who read stored
completions with its client."""

import re
from functools import partial
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid
from distillhub.lib.rest import Cursor
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.completion_serializers import (
    CallSerializer,
    CallsSerializer,
    CompletionSerializer,
    Metadata,
    PromotionSerializer,
    ReceivedSerializer,
    WantedSerializer,
    WholeCompletionSerializer,
)
from projects.api.dataset_serializers import VersionSerializer
from projects.models import Dataset, Project, StoredCompletion
from projects.models.completion import StoredCompletionQuerySet
from projects.services import completions

PAIR = re.compile(r"\Ametadata\[([^\]]{1,64})\]\Z")
MOST_LISTED = 100
WANTED: list[OpenApiParameter | type[WantedSerializer]] = [
    WantedSerializer,
    OpenApiParameter(
        "metadata",
        {"type": "object", "additionalProperties": {"type": "string"}},
        style="deepObject",
        description="In an address: `metadata[key]=value`.",
    ),
]


class Newest(Cursor):
    ordering = ("-called_at", "-pk")  # type: ignore[assignment]  # DRF takes either


def conditions(request: Request) -> dict[str, Any]:
    """Of the calls that an address asks for."""
    known = WantedSerializer().fields
    asked: dict[str, Any] = {}
    metadata = {}
    for name, value in request.query_params.items():
        if pair := PAIR.match(name):
            metadata[pair[1]] = value
        elif name in known:
            asked[name] = value
    body = WantedSerializer(data=asked | ({"metadata": metadata} if metadata else {}))
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def of_project(project: Project) -> StoredCompletionQuerySet:
    return StoredCompletion.objects.filter(project=project)


class CompletionList(ProjectMixin, generics.ListAPIView[StoredCompletion]):
    serializer_class = CompletionSerializer
    pagination_class = Newest

    def get_queryset(self) -> QuerySet[StoredCompletion]:
        if getattr(self, "swagger_fake_view", False):
            return StoredCompletion.objects.none()
        found = of_project(self.project()).found_by(**conditions(self.request))
        return found.defer("request", "response")

    @extend_schema(parameters=WANTED, summary="Calls in the inbox")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @idempotent
    @extend_schema(
        request=PolymorphicProxySerializer(
            "CallOrCalls",
            serializers=[CallSerializer, CallsSerializer],
            resource_type_field_name=None,
        ),
        responses={201: ReceivedSerializer},
        summary="Send calls to the inbox",
        description="One call, or `{completions: [...]}` with up to 500. A call that is here "
        "already is counted and changes nothing.",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        several = isinstance(request.data, dict) and "completions" in request.data
        body: Any = (CallsSerializer if several else CallSerializer)(data=request.data)
        body.is_valid(raise_exception=True)
        calls = body.validated_data["completions"] if several else [body.validated_data]
        kept, repeated = completions.receive(
            project=self.project(), calls=calls, by=person(request)
        )
        answer = {
            "ids": [one.key for one in kept],
            "received": len(calls) - repeated,
            "repeated": repeated,
        }
        return Response(answer, status=201)

    @extend_schema(
        operation_id="projects_completions_clear",
        parameters=WANTED,
        responses={200: {"type": "object", "properties": {"deleted": {"type": "integer"}}}},
        summary="Delete calls from the inbox",
    )
    def delete(self, request: Request, project_slug: str) -> Response:
        asked = conditions(request)
        if not asked:
            raise Invalid("Say which calls: give at least one condition.")
        found = of_project(self.project()).found_by(**asked)
        return Response({"deleted": completions.forget(completions=found, by=person(request))})


class CompletionDetail(ProjectMixin, APIView):
    @extend_schema(responses=WholeCompletionSerializer, summary="A call")
    def get(self, request: Request, project_slug: str, key: str) -> Response:
        found = completions.find(project=self.project(), key=key)
        return Response(WholeCompletionSerializer(found).data)

    @extend_schema(responses={204: None}, summary="Delete a call")
    def delete(self, request: Request, project_slug: str, key: str) -> Response:
        found = completions.find(project=self.project(), key=key)
        one = StoredCompletion.objects.filter(pk=found.pk)
        completions.forget(completions=one, by=person(request))
        return Response(status=204)


class Promotion(ProjectMixin, APIView):
    @idempotent
    @extend_schema(
        request=PromotionSerializer,
        responses={201: VersionSerializer},
        summary="Make a dataset of calls",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = PromotionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        name, task = asked.pop("name"), asked.pop("task")
        project = self.project()
        version = completions.promote(
            project=project,
            completions=of_project(project).found_by(**asked),
            name=name,
            task=task,
            dataset=Dataset.objects.filter(project=project, name=name).first(),
            by=person(request),
        )
        return Response(VersionSerializer(version).data, status=201)


# As OpenAI's client reads stored completions: `base_url=".../api/v1/projects/<slug>/openai/v1"`.


openai_shaped = partial(extend_schema, request=None, responses={200: OpenApiTypes.OBJECT})


def _chat_completion(one: StoredCompletion) -> dict[str, Any]:
    answer = one.response if isinstance(one.response, dict) else {}
    return {
        **answer,
        "id": one.key,
        "object": "chat.completion",
        "created": int(one.called_at.timestamp()),
        "model": one.model,
        "choices": answer.get("choices", []),
        "metadata": one.metadata,
        "request_id": one.key,
    }


class OpenAIList(ProjectMixin, APIView):
    @openai_shaped(
        operation_id="openai_completions_list",
        parameters=[
            *WANTED,
            OpenApiParameter("after", str, description="The id of the call before the first."),
            OpenApiParameter("limit", int, description=f"At most {MOST_LISTED}; 20 if left out."),
            OpenApiParameter("order", str, enum=["asc", "desc"], description="By time: `asc`."),
        ],
        summary="Calls, as OpenAI's client lists them",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        asked = request.query_params
        found = of_project(self.project()).found_by(**conditions(request))
        order = asked.get("order", "asc")
        limit = asked.get("limit", "20")
        if (
            order not in ("asc", "desc")
            or not limit.isdecimal()
            or not 0 < int(limit) <= MOST_LISTED
        ):
            raise Invalid(f"order is asc or desc, and limit is up to {MOST_LISTED}.")
        if after := asked.get("after"):
            last = completions.find(project=self.project(), key=after)
            found = found.beyond(last, newer=order == "asc")
        sign = "" if order == "asc" else "-"
        page = list(found.order_by(f"{sign}called_at", f"{sign}pk")[: int(limit) + 1])
        shown = [_chat_completion(one) for one in page[: int(limit)]]
        return Response(
            {
                "object": "list",
                "data": shown,
                "first_id": shown[0]["id"] if shown else None,
                "last_id": shown[-1]["id"] if shown else None,
                "has_more": len(page) > int(limit),
            }
        )


class OpenAIDetail(ProjectMixin, APIView):
    @openai_shaped(operation_id="openai_completions_retrieve", summary="A call, likewise")
    def get(self, request: Request, project_slug: str, key: str) -> Response:
        return Response(_chat_completion(completions.find(project=self.project(), key=key)))

    @openai_shaped(
        operation_id="openai_completions_update", summary="Change a call's metadata, likewise"
    )
    def post(self, request: Request, project_slug: str, key: str) -> Response:
        found = completions.find(project=self.project(), key=key)
        told = request.data.get("metadata") if isinstance(request.data, dict) else None
        metadata = Metadata().run_validation(told or {})
        changed = completions.describe(completion=found, metadata=metadata, by=person(request))
        return Response(_chat_completion(changed))

    @openai_shaped(operation_id="openai_completions_delete", summary="Delete a call, likewise")
    def delete(self, request: Request, project_slug: str, key: str) -> Response:
        found = completions.find(project=self.project(), key=key)
        one = StoredCompletion.objects.filter(pk=found.pk)
        completions.forget(completions=one, by=person(request))
        return Response({"object": "chat.completion.deleted", "id": key, "deleted": True})


class OpenAIMessages(ProjectMixin, APIView):
    @openai_shaped(
        operation_id="openai_completions_messages", summary="A call's messages, likewise"
    )
    def get(self, request: Request, project_slug: str, key: str) -> Response:
        found = completions.find(project=self.project(), key=key)
        said = found.request.get("messages", []) if isinstance(found.request, dict) else []
        shown = [
            {"id": f"{key}-{place}", **message}
            for place, message in enumerate(said)
            if isinstance(message, dict)
        ]
        return Response(
            {
                "object": "list",
                "data": shown,
                "first_id": shown[0]["id"] if shown else None,
                "last_id": shown[-1]["id"] if shown else None,
                "has_more": False,
            }
        )
