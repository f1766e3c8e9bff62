"""Projects and their members."""

from typing import ClassVar

from django.db.models import F, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Missing
from distillhub.lib.rest import Cursor
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.serializers import (
    MemberAddSerializer,
    MemberRoleSerializer,
    MemberSerializer,
    ProjectChangeSerializer,
    ProjectSerializer,
)
from projects.models import Membership, Project, Role, User
from projects.services import projects

ARCHIVED = OpenApiParameter("archived", bool, description="True lists the archived ones instead.")


@extend_schema_view(get=extend_schema(parameters=[ARCHIVED], summary="The projects I belong to"))
class ProjectList(generics.ListAPIView[Project]):
    serializer_class = ProjectSerializer

    def get_queryset(self) -> QuerySet[Project]:
        mine = Project.objects.filter(memberships__user=self.request.user.pk)
        archived = self.request.query_params.get("archived", "").lower() in {"1", "true"}
        mine = mine.exclude(archived_at=None) if archived else mine.filter(archived_at=None)
        return mine.annotate(role=F("memberships__role")).select_related("created_by")

    @idempotent
    @extend_schema(
        request=ProjectSerializer, responses={201: ProjectSerializer}, summary="Make a project"
    )
    def post(self, request: Request) -> Response:
        body = ProjectSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        project = projects.create(**body.validated_data, by=person(request))
        return Response(ProjectSerializer(project).data, status=201)


class ProjectDetail(ProjectMixin, APIView):
    roles: ClassVar = {"PATCH": Role.OWNER, "DELETE": Role.OWNER}
    archived_too = True

    @extend_schema(responses=ProjectSerializer, summary="A project")
    def get(self, request: Request, project_slug: str) -> Response:
        return Response(ProjectSerializer(self.project()).data)

    @extend_schema(
        request=ProjectChangeSerializer,
        responses=ProjectSerializer,
        summary="Rename, describe, archive or restore a project",
    )
    def patch(self, request: Request, project_slug: str) -> Response:
        body = ProjectChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        projects.change(project=self.project(), **body.validated_data, by=person(request))
        return Response(ProjectSerializer(self.project()).data)

    @extend_schema(responses={204: None}, summary="Archive a project")
    def delete(self, request: Request, project_slug: str) -> Response:
        projects.archive(project=self.project(), by=person(request))
        return Response(status=204)


class MembersByArrival(Cursor):
    ordering = "created_at"


@extend_schema_view(get=extend_schema(summary="Who belongs to a project"))
class MemberList(ProjectMixin, generics.ListAPIView[Membership]):
    roles: ClassVar = {"POST": Role.OWNER}
    serializer_class = MemberSerializer
    pagination_class = MembersByArrival

    def get_queryset(self) -> QuerySet[Membership]:
        people = self.project().memberships.filter(user__is_service=False)
        return people.select_related("user")

    @idempotent
    @extend_schema(
        request=MemberAddSerializer, responses={201: MemberSerializer}, summary="Add a member"
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = MemberAddSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        membership = projects.add_member(
            project=self.project(), **body.validated_data, by=person(request)
        )
        return Response(MemberSerializer(membership).data, status=201)


class MemberDetail(ProjectMixin, APIView):
    # Everybody may leave, so removing asks for no role here: the service lets owners remove others.
    roles: ClassVar = {"PATCH": Role.OWNER, "DELETE": Role.VIEWER}

    @extend_schema(responses=MemberSerializer, summary="A member")
    def get(self, request: Request, project_slug: str, username: str) -> Response:
        return Response(MemberSerializer(self._membership(username)).data)

    @extend_schema(
        request=MemberRoleSerializer, responses=MemberSerializer, summary="Change a member's role"
    )
    def patch(self, request: Request, project_slug: str, username: str) -> Response:
        body = MemberRoleSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        membership = projects.change_role(
            project=self.project(),
            user=self._user(username),
            role=body.validated_data["role"],
            by=person(request),
        )
        return Response(MemberSerializer(membership).data)

    @extend_schema(responses={204: None}, summary="Remove a member, or leave")
    def delete(self, request: Request, project_slug: str, username: str) -> Response:
        projects.remove_member(
            project=self.project(), user=self._user(username), by=person(request)
        )
        return Response(status=204)

    def _membership(self, username: str) -> Membership:
        members = self.project().memberships.select_related("user")
        membership = members.filter(user__username=username).first()
        if membership is None:
            raise Missing("There is no such member.")
        return membership

    def _user(self, username: str) -> User:
        return self._membership(username).user
