"""Tokens: a person's own, and those of a project, which are nobody's."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid, Missing
from projects import permissions
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.serializers import (
    MyTokenAskedSerializer,
    NewTokenSerializer,
    TokenAskedSerializer,
    TokenRotateSerializer,
    TokenSerializer,
)
from projects.models import ApiToken, Role
from projects.services import accounts, tokens

MADE = {201: NewTokenSerializer}


def _made_with(request: Request) -> ApiToken | None:
    return request.auth if isinstance(request.auth, ApiToken) else None


def _made(row: ApiToken, raw: str) -> Response:
    return Response({**TokenSerializer(row).data, "token": raw}, status=201)


def _checked(shape: Any, request: Request) -> Mapping[str, Any]:
    body = shape(data=request.data)
    body.is_valid(raise_exception=True)
    # A misspelt `expires_at` would make a token that never ends.
    if unknown := sorted(set(request.data) - set(body.fields)):
        sentence = f"There is no such key; there are {', '.join(body.fields)}."
        raise Invalid(
            f"{unknown[0][:100]}: {sentence}", fields={one[:100]: [sentence] for one in unknown}
        )
    checked: Mapping[str, Any] = body.validated_data
    return checked


def _rotated(token: ApiToken, request: Request) -> Response:
    grace = timedelta(hours=_checked(TokenRotateSerializer, request)["grace_hours"])
    row, raw = tokens.rotate(
        token=token, grace=grace, made_with=_made_with(request), by=person(request)
    )
    return _made(row, raw)


@extend_schema_view(get=extend_schema(summary="My tokens"))
class TokenList(generics.ListAPIView[ApiToken]):
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[ApiToken]:
        mine = ApiToken.objects.usable().filter(user=self.request.user.pk)
        return mine.select_related("project", "created_by")

    @idempotent(forget=["token"])
    @extend_schema(request=MyTokenAskedSerializer, responses=MADE, summary="Make a token")
    def post(self, request: Request) -> Response:
        asked = dict(_checked(MyTokenAskedSerializer, request))
        if slug := asked.pop("project", None):
            asked["project"] = permissions.project_for(person(request), slug, for_page=False)
        row, raw = accounts.create_token(
            user=person(request), made_with=_made_with(request), **asked
        )
        return _made(row, raw)


class TokenDetail(APIView):
    @extend_schema(responses={204: None}, summary="Revoke a token")
    def delete(self, request: Request, pk: int) -> Response:
        accounts.revoke_token(token=_mine(request, pk), by=person(request))
        return Response(status=204)


class TokenRotate(APIView):
    @idempotent(forget=["token"])
    @extend_schema(
        request=TokenRotateSerializer,
        responses=MADE,
        summary="Make its successor; the old one stays good for a while",
    )
    def post(self, request: Request, pk: int) -> Response:
        return _rotated(_mine(request, pk), request)


def _mine(request: Request, pk: int) -> ApiToken:
    usable = ApiToken.objects.usable().select_related("user", "project")
    token = usable.filter(user=person(request), pk=pk).first()
    if token is None:
        raise Missing("There is no such token.")
    return token


class OwnersAlone(ProjectMixin):
    roles: ClassVar = dict.fromkeys(("GET", "HEAD", "OPTIONS", "POST", "DELETE"), Role.OWNER)


@extend_schema_view(get=extend_schema(summary="The project's own tokens"))
class ProjectTokenList(OwnersAlone, generics.ListAPIView[ApiToken]):
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[ApiToken]:
        if getattr(self, "swagger_fake_view", False):
            return ApiToken.objects.none()
        return tokens.of_project(project=self.project())

    @idempotent(forget=["token"])
    @extend_schema(
        request=TokenAskedSerializer,
        responses=MADE,
        summary="Make a token that is nobody's and opens this project alone",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        row, raw = tokens.create_for_project(
            project=self.project(),
            made_with=_made_with(request),
            by=person(request),
            **_checked(TokenAskedSerializer, request),
        )
        return _made(row, raw)


class ProjectTokenDetail(OwnersAlone, APIView):
    @extend_schema(responses={204: None}, summary="Revoke one of the project's tokens")
    def delete(self, request: Request, project_slug: str, token_id: int) -> Response:
        tokens.revoke(token=tokens.find(project=self.project(), pk=token_id))
        return Response(status=204)


class ProjectTokenRotate(OwnersAlone, APIView):
    @idempotent(forget=["token"])
    @extend_schema(
        request=TokenRotateSerializer,
        responses=MADE,
        summary="Make its successor; the old one stays good for a while",
    )
    def post(self, request: Request, project_slug: str, token_id: int) -> Response:
        return _rotated(tokens.find(project=self.project(), pk=token_id), request)
