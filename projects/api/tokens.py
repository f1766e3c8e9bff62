"""A person's own tokens."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Missing
from projects.api.base import idempotent, person
from projects.api.serializers import NewTokenSerializer, TokenSerializer
from projects.models import ApiToken
from projects.services import accounts


@extend_schema_view(get=extend_schema(summary="My tokens"))
class TokenList(generics.ListAPIView[ApiToken]):
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.usable().filter(user=self.request.user.pk)

    @idempotent(forget=["token"])
    @extend_schema(
        request=TokenSerializer, responses={201: NewTokenSerializer}, summary="Make a token"
    )
    def post(self, request: Request) -> Response:
        body = TokenSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        row, raw = accounts.create_token(
            user=person(request),
            made_with=request.auth if isinstance(request.auth, ApiToken) else None,
            **body.validated_data,
        )
        return Response({**TokenSerializer(row).data, "token": raw}, status=201)


class TokenDetail(APIView):
    @extend_schema(responses={204: None}, summary="Revoke a token")
    def delete(self, request: Request, pk: int) -> Response:
        token = ApiToken.objects.usable().filter(user=person(request), pk=pk).first()
        if token is None:
            raise Missing("There is no such token.")
        accounts.revoke_token(token=token, by=person(request))
        return Response(status=204)
