"""Everybody on the installation, for its administrators; a person's own browsers and picture."""

from typing import Any, ClassVar

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.utils import extend_schema_view as schemas
from rest_framework import generics, serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import downloads
from distillhub.lib.rest import Cursor
from projects.api.base import idempotent, person
from projects.models import User
from projects.services import avatars, people, sessions


class PersonShape(serializers.ModelSerializer[User]):
    username = serializers.CharField(max_length=150)
    email = serializers.CharField(max_length=254, allow_blank=True, default="")
    name = serializers.CharField(source="display_name", read_only=True)
    is_administrator = serializers.BooleanField(source="is_superuser", read_only=True)
    second_factor = serializers.BooleanField(
        source="is_guarded", read_only=True, help_text="Whether a code is asked for, too."
    )
    projects = serializers.IntegerField(source="project_count", read_only=True)
    last_sign_in = serializers.DateTimeField(source="last_login", read_only=True)

    class Meta:
        model = User
        fields: ClassVar = [
            "username", "name", "email", "is_active", "is_administrator", "second_factor",
            "projects", "date_joined", "last_sign_in",
        ]  # fmt: skip
        read_only_fields: ClassVar = ["is_active", "date_joined"]


class SignInLinkShape(serializers.Serializer[Any]):
    link = serializers.CharField(
        allow_null=True, help_text="Signs the person in, once. Shown in this answer alone."
    )


class NewPersonShape(PersonShape):
    link = SignInLinkShape().fields["link"]

    class Meta(PersonShape.Meta):
        fields: ClassVar = [*PersonShape.Meta.fields, "link"]


class PersonChangeShape(serializers.Serializer[Any]):
    is_active = serializers.BooleanField(
        required=False,
        help_text="False shuts them out at once: browsers, tokens, links and invitations end.",
    )
    is_administrator = serializers.BooleanField(required=False)


class ByName(Cursor):
    ordering = "username"


Q = OpenApiParameter("q", str, description="In name, username or e-mail.")


@schemas(get=extend_schema(parameters=[Q], summary="Everybody who can sign in (administrators)"))
class PersonList(generics.ListAPIView[User]):
    serializer_class = PersonShape
    pagination_class = ByName

    def get_queryset(self) -> QuerySet[User]:
        if getattr(self, "swagger_fake_view", False):
            return User.objects.none()
        q = self.request.query_params.get("q", "")[:100]
        return people.everybody(by=person(self.request), q=q)

    @idempotent(forget=["link"])
    @extend_schema(
        request=PersonShape,
        responses={201: NewPersonShape},
        summary="Make a person, who signs in by a link first",
    )
    def post(self, request: Request) -> Response:
        me = person(request)
        people.require_administrator(me)
        body = PersonShape(data=request.data)
        body.is_valid(raise_exception=True)
        made, secret = people.make(**body.validated_data, by=me)
        found = people.find(username=made.username, by=me)
        return Response({**PersonShape(found).data, "link": _link(secret)}, status=201)


class PersonDetail(APIView):
    @extend_schema(responses=PersonShape, summary="A person (administrators)")
    def get(self, request: Request, username: str) -> Response:
        return Response(PersonShape(people.find(username=username, by=person(request))).data)

    @extend_schema(
        request=PersonChangeShape,
        responses=PersonShape,
        summary="Shut a person out, let them in, make them an administrator or not",
    )
    def patch(self, request: Request, username: str) -> Response:
        me = person(request)
        user = people.find(username=username, by=me)
        body = PersonChangeShape(data=request.data)
        body.is_valid(raise_exception=True)
        active = body.validated_data.get("is_active", user.is_active)
        if active != user.is_active:
            act = people.activate if active else people.deactivate
            act(user=user, by=me)
        rules = body.validated_data.get("is_administrator", user.is_superuser)
        if rules != user.is_superuser:
            act = people.make_administrator if rules else people.make_ordinary
            act(user=user, by=me)
        return Response(PersonShape(people.find(username=username, by=me)).data)


class PersonLink(APIView):
    @extend_schema(
        request=None,
        responses={201: SignInLinkShape},
        summary="A link that signs a person in, once (administrators)",
    )
    def post(self, request: Request, username: str) -> Response:
        me = person(request)
        user = people.find(username=username, by=me)
        return Response({"link": _link(people.sign_in_link(user=user, by=me))}, status=201)


class PersonSecondFactor(APIView):
    @extend_schema(
        responses={204: None}, summary="Forget a person's second factor (administrators)"
    )
    def delete(self, request: Request, username: str) -> Response:
        me = person(request)
        people.reset_second_factor(user=people.find(username=username, by=me), by=me)
        return Response(status=204)


class PersonPicture(APIView):
    @extend_schema(
        responses={(200, "image/png"): OpenApiResponse(OpenApiTypes.BINARY)},
        summary="The picture of a person",
    )
    def get(self, request: Request, username: str) -> HttpResponse:
        png, sha256 = avatars.png(username=username)
        response = downloads.picture(png)
        response.headers["ETag"] = f'"{sha256}"'
        response.headers["Cache-Control"] = "private, no-cache"  # of an address that may change
        return response


class PictureShape(serializers.Serializer[Any]):
    avatar = serializers.FileField(help_text="PNG, JPEG, WebP or GIF; it is cut to a square.")


class MyPicture(APIView):
    parser_classes = (MultiPartParser,)

    @extend_schema(request=PictureShape, responses={204: None}, summary="Change my picture")
    def put(self, request: Request) -> Response:
        body = PictureShape(data=request.data)
        body.is_valid(raise_exception=True)
        avatars.change(user=person(request), file=body.validated_data["avatar"])
        return Response(status=204)

    @extend_schema(responses={204: None}, summary="Remove my picture")
    def delete(self, request: Request) -> Response:
        avatars.remove(user=person(request))
        return Response(status=204)


class SessionShape(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    browser = serializers.CharField(source="told", help_text="`Firefox on Linux`.")
    address = serializers.CharField(source="ip")
    since = serializers.DateTimeField(source="created_at")
    current = serializers.BooleanField(source="is_mine", help_text="The one that asks.")


class SessionListShape(serializers.Serializer[Any]):
    results = SessionShape(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class MySessions(APIView):
    @extend_schema(responses=SessionListShape, summary="Browsers that are signed in as me")
    def get(self, request: Request) -> Response:
        found = sessions.of(person(request), request._request)
        shown = SessionShape(found, many=True).data
        return Response({"results": shown, "next": None, "previous": None})

    @extend_schema(
        operation_id="me_sessions_destroy_others",
        responses={204: None},
        summary="Sign out all browsers, but the one that asks",
    )
    def delete(self, request: Request) -> Response:
        sessions.end_others(user=person(request), request=request._request)
        return Response(status=204)


class MySession(APIView):
    @extend_schema(responses={204: None}, summary="Sign a browser out")
    def delete(self, request: Request, pk: int) -> Response:
        sessions.end(user=person(request), pk=pk)
        return Response(status=204)


def _link(secret: str) -> str:
    return f"{settings.SITE_URL.rstrip('/')}{reverse('projects:sign_in_link', args=[secret])}"
