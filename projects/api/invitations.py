"""Invitations into a project, and accepting one."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import tokens
from distillhub.lib.errors import Missing
from distillhub.lib.rest import Cursor
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.serializers import MemberSerializer
from projects.models import Invitation, Role, User
from projects.services import invitations


class InvitationShape(serializers.ModelSerializer[Invitation]):
    email = serializers.CharField(
        max_length=254,
        allow_blank=True,
        default="",
        help_text="Whom it is for, and where it is sent if this installation has a mail server. "
        "Empty: whoever has the link.",
    )
    role = serializers.ChoiceField(choices=Role.choices, default=Role.VIEWER)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Invitation
        fields: ClassVar = [
            *("id", "email", "role", "created_by", "created_at", "expires_at", "emailed_at")
        ]
        read_only_fields: ClassVar = ["id", "created_at", "expires_at", "emailed_at"]


class InvitationLinkShape(InvitationShape):
    link = serializers.CharField(
        allow_null=True,
        read_only=True,
        help_text="Shown in this answer alone; null if it was sent by e-mail.",
    )

    class Meta(InvitationShape.Meta):
        fields: ClassVar = [*InvitationShape.Meta.fields, "link"]


class Newest(Cursor):
    ordering = "-id"


@extend_schema_view(get=extend_schema(summary="Invitations that can still be accepted"))
class InvitationList(ProjectMixin, generics.ListAPIView[Invitation]):
    roles: ClassVar = {"GET": Role.OWNER, "POST": Role.OWNER}
    serializer_class = InvitationShape
    pagination_class = Newest

    def get_queryset(self) -> QuerySet[Invitation]:
        return invitations.waiting(self.project())

    @idempotent(forget=["link"])
    @extend_schema(
        request=InvitationShape, responses={201: InvitationLinkShape}, summary="Invite somebody"
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = InvitationShape(data=request.data)
        body.is_valid(raise_exception=True)
        made, link = invitations.invite(
            project=self.project(), **body.validated_data, by=person(request)
        )
        return Response({**InvitationShape(made).data, "link": link}, status=201)


class _One(ProjectMixin, APIView):
    def invitation(self, pk: int) -> Invitation:
        found = invitations.waiting(self.project()).filter(pk=pk).first()
        if found is None:
            raise Missing("There is no such invitation.")
        return found


class InvitationDetail(_One):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses={204: None}, summary="Take an invitation back")
    def delete(self, request: Request, project_slug: str, pk: int) -> Response:
        invitations.revoke(invitation=self.invitation(pk), by=person(request))
        return Response(status=204)


class RenewShape(serializers.Serializer[Any]):
    by_mail = serializers.BooleanField(
        default=True, help_text="False tells the new link in the answer in any case."
    )


class InvitationRenew(_One):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(
        request=RenewShape,
        responses=InvitationLinkShape,
        summary="Send an invitation again, with a new link",
    )
    def post(self, request: Request, project_slug: str, pk: int) -> Response:
        found = self.invitation(pk)
        body = RenewShape(data=request.data)
        body.is_valid(raise_exception=True)
        link = invitations.renew(
            invitation=found, by=person(request), by_mail=body.validated_data["by_mail"]
        )
        return Response({**InvitationShape(found).data, "link": link})


class AcceptShape(serializers.Serializer[Any]):
    token = serializers.CharField(
        max_length=200, help_text="The last part of the invitation's address."
    )


class InvitationAccept(APIView):
    @extend_schema(request=AcceptShape, responses=MemberSerializer, summary="Accept an invitation")
    def post(self, request: Request) -> Response:
        body = AcceptShape(data=request.data)
        body.is_valid(raise_exception=True)
        digest = tokens.digest(body.validated_data["token"])
        membership = invitations.accept(digest=digest, by=person(request))
        return Response(MemberSerializer(membership).data)
