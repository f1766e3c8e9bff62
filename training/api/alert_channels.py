"""Channels of a project's messages about incidents, tests of them, and the log."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Role
from training.engine.alerting import SEVERITIES
from training.models import AlertChannel, AlertMessage
from training.services import alert_channels


class ChannelEditShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    addresses = serializers.ListField(
        child=serializers.CharField(max_length=320), required=False, help_text="Of e-mail."
    )
    url = serializers.CharField(
        max_length=500, required=False, help_text="Of a webhook; never told again."
    )
    secret = serializers.CharField(
        max_length=200,
        required=False,
        help_text="whsec_ and base64, as Standard Webhooks has it; made where none is given.",
    )
    least = serializers.ChoiceField(
        choices=SEVERITIES, required=False, help_text="Severity from which it is told."
    )
    hears = serializers.ListField(
        child=serializers.ChoiceField(choices=alert_channels.HEARD),
        required=False,
        help_text="Kinds of other events that are sent there, too (docs/webhooks.md).",
    )
    is_on = serializers.BooleanField(required=False)


class ChannelAskedShape(ChannelEditShape):
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(choices=AlertChannel.Kind.choices)


class ChannelShape(serializers.ModelSerializer[AlertChannel]):
    kind = serializers.ChoiceField(choices=AlertChannel.Kind.choices)
    place = serializers.CharField(help_text="Addresses of e-mail, or a webhook's host.")
    least = serializers.ChoiceField(choices=SEVERITIES)
    hears = serializers.ListField(child=serializers.CharField(), help_text="Kinds of other events.")
    created_by = serializers.CharField(source="created_by.username")
    waiting = serializers.IntegerField(help_text="Messages that wait, or are tried again.")
    failed = serializers.IntegerField(help_text="Messages that were given up.")
    last_sent_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = AlertChannel
        fields: ClassVar = [
            "id", "name", "kind", "place", "least", "hears", "is_on", "waiting", "failed",
            "last_sent_at", "created_by", "created_at",
        ]  # fmt: skip


class ChannelMadeShape(ChannelShape):
    secret = serializers.CharField(
        allow_null=True, help_text="That a webhook's messages are signed with: told this once."
    )

    class Meta(ChannelShape.Meta):
        fields: ClassVar = [*ChannelShape.Meta.fields, "secret"]


class MessageShape(serializers.ModelSerializer[AlertMessage]):
    incident = serializers.IntegerField(source="incident.number", allow_null=True, default=None)
    status = serializers.ChoiceField(choices=AlertMessage.Status.choices)
    within = serializers.IntegerField(
        source="within_id", allow_null=True, help_text="The message that carries it."
    )

    class Meta:
        model = AlertMessage
        fields: ClassVar = [
            "id", "incident", "status", "tries", "due_at", "sent_at", "error", "within", "body",
            "created_at",
        ]  # fmt: skip


class ChannelView(ProjectMixin):
    def channel(self) -> AlertChannel:
        return alert_channels.find(project=self.project(), channel_id=self.kwargs["channel_id"])


def _made(channel: AlertChannel, secret: str) -> Any:
    return {**ChannelShape(channel).data, "secret": secret or None}


@extend_schema_view(get=extend_schema(summary="Channels of a project's messages"))
class ChannelList(ProjectMixin, generics.ListAPIView[AlertChannel]):
    roles: ClassVar = {"POST": Role.OWNER}
    serializer_class = ChannelShape

    def get_queryset(self) -> QuerySet[AlertChannel]:
        if getattr(self, "swagger_fake_view", False):
            return AlertChannel.objects.none()
        return alert_channels.listed(project=self.project())

    @idempotent(forget=["secret"])
    @extend_schema(
        request=ChannelAskedShape,
        responses={201: ChannelMadeShape},
        summary="Add a channel: e-mail, a signed webhook, or what takes Slack's",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        made, secret = alert_channels.create(
            project=self.project(), asked=request.data, by=person(request)
        )
        return Response(_made(made, secret), status=201)


class ChannelDetail(ChannelView, APIView):
    roles: ClassVar = {"PATCH": Role.OWNER, "DELETE": Role.OWNER}

    @extend_schema(responses=ChannelShape, summary="One channel")
    def get(self, request: Request, project_slug: str, channel_id: int) -> Response:
        return Response(ChannelShape(self.channel()).data)

    @extend_schema(request=ChannelEditShape, responses=ChannelMadeShape, summary="Change a channel")
    def patch(self, request: Request, project_slug: str, channel_id: int) -> Response:
        changed, secret = alert_channels.edit(channel=self.channel(), asked=request.data)
        return Response(_made(changed, secret))

    @extend_schema(responses={204: None}, summary="Delete a channel with its log")
    def delete(self, request: Request, project_slug: str, channel_id: int) -> Response:
        alert_channels.remove(channel=self.channel())
        return Response(status=204)


class ChannelTest(ChannelView, APIView):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(request=None, responses={202: MessageShape}, summary="Send a test message")
    def post(self, request: Request, project_slug: str, channel_id: int) -> Response:
        sent = alert_channels.test(channel=self.channel(), by=person(request))
        return Response(MessageShape(sent).data, status=202)


@extend_schema_view(get=extend_schema(summary="Messages of a channel, newest first"))
class MessageList(ChannelView, generics.ListAPIView[AlertMessage]):
    serializer_class = MessageShape

    def get_queryset(self) -> QuerySet[AlertMessage]:
        if getattr(self, "swagger_fake_view", False):
            return AlertMessage.objects.none()
        return alert_channels.messages(channel=self.channel())


class MessageRedeliver(ChannelView, APIView):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(
        request=None,
        responses={202: MessageShape},
        summary="Send a message again, under the id it had",
    )
    def post(
        self, request: Request, project_slug: str, channel_id: int, message_id: int
    ) -> Response:
        sent = alert_channels.send_again(channel=self.channel(), message_id=message_id)
        return Response(MessageShape(sent).data, status=202)
