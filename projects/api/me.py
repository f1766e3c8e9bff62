"""Who am I, and what may I see?"""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Forbidden
from projects.api.base import person
from projects.api.serializers import MeChangeSerializer, MeSerializer
from projects.models import ApiToken, User
from projects.services import accounts


class Me(APIView):
    @extend_schema(responses=MeSerializer, summary="Who am I, which projects and roles")
    def get(self, request: Request) -> Response:
        return Response(_described(person(request), request))

    @extend_schema(
        request=MeChangeSerializer,
        responses=MeSerializer,
        summary="Change my name, or in a browser's session my address",
    )
    def patch(self, request: Request) -> Response:
        body = MeChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if "email" in body.validated_data and isinstance(request.auth, ApiToken):
            # A new password is sent there: a token that leaked would become the account.
            raise Forbidden("An address is changed in the browser, and not with a token.")
        accounts.change_profile(user=person(request), **body.validated_data)
        return Response(_described(person(request), request))


def _described(user: User, request: Request) -> object:
    memberships = user.memberships.filter(project__archived_at=None).select_related("project")
    token = request.auth if isinstance(request.auth, ApiToken) else None
    if token is not None and token.project_id is not None:
        memberships = memberships.filter(project=token.project_id)
    user.active_memberships = memberships  # type: ignore[attr-defined]
    user.token = token  # type: ignore[attr-defined]
    return MeSerializer(user).data
