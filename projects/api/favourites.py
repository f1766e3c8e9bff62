"""What a person keeps at hand."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects import permissions
from projects.api.base import idempotent, person
from projects.models import Favourite
from projects.services import favourites, subjects

SUBJECT = (
    "Its kind and reference: `project/`, `run/12`, `study/3`, `dataset/intents`, `model/small`, "
    "`monitor/live`."
)


class FavouriteShape(serializers.ModelSerializer[Favourite]):
    project = serializers.CharField(source="project.slug", read_only=True)
    subject = serializers.SerializerMethodField(help_text=SUBJECT)

    class Meta:
        model = Favourite
        fields: ClassVar = ["id", "project", "subject", "title", "created_at"]
        read_only_fields: ClassVar = fields

    def get_subject(self, favourite: Favourite) -> str:
        return f"{favourite.subject_kind}/{favourite.subject}"


class NewFavouriteShape(serializers.Serializer[Any]):
    project = serializers.SlugField(max_length=100, help_text="The slug of the project.")
    subject = serializers.CharField(max_length=350, help_text=SUBJECT)


@extend_schema_view(
    get=extend_schema(summary="My favourites", description="Of projects that are not archived.")
)
class FavouriteList(generics.ListAPIView[Favourite]):
    serializer_class = FavouriteShape

    def get_queryset(self) -> QuerySet[Favourite]:
        if getattr(self, "swagger_fake_view", False):
            return Favourite.objects.none()
        return favourites.of(user=person(self.request))

    @idempotent
    @extend_schema(
        request=NewFavouriteShape,
        responses={201: FavouriteShape},
        summary="Keep something at hand",
        description="What is kept already stays as it is.",
    )
    def post(self, request: Request) -> Response:
        body = NewFavouriteShape(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        project = permissions.project_for(person(request), asked["project"], for_page=False)
        kind, reference = subjects.parsed(asked["subject"], among=subjects.KEPT)
        subject = subjects.find(project=project, kind=kind, reference=reference)
        made = favourites.add(user=person(request), project=project, subject=subject)
        return Response(FavouriteShape(made).data, status=201)


class FavouriteDetail(APIView):
    @extend_schema(responses={204: None}, summary="Let a favourite go")
    def delete(self, request: Request, favourite_id: int) -> Response:
        favourites.find(user=person(request), favourite_id=favourite_id).delete()
        return Response(status=204)
