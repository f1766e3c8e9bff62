"""What people say about runs, studies and versions."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import Cursor, checked_query
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Comment, Role
from projects.services import comments, subjects

SUBJECT = (
    "Its kind and reference: `run/12`, `study/3`, `dataset_version/intents@3`, "
    "`model_version/small@2`."
)


class CommentShape(serializers.ModelSerializer[Comment]):
    subject = serializers.SerializerMethodField(help_text=SUBJECT)
    by = serializers.CharField(source="by.username", read_only=True)
    mentions: Any = serializers.SlugRelatedField(
        slug_field="username", many=True, read_only=True, help_text="Members that it names by @."
    )

    class Meta:
        model = Comment
        fields: ClassVar = [
            *("id", "subject", "text", "mentions", "by", "created_at", "edited_at", "deleted_at"),
        ]
        read_only_fields: ClassVar = fields

    def get_subject(self, comment: Comment) -> str:
        return f"{comment.subject_kind}/{comment.subject}"


class NewCommentShape(serializers.Serializer[Any]):
    subject = serializers.CharField(max_length=350, help_text=SUBJECT)
    text = serializers.CharField(
        max_length=comments.LONGEST, help_text="Markdown; @username mentions a member."
    )


class EditedCommentShape(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=comments.LONGEST)


class CommentsQuery(serializers.Serializer[Any]):
    subject = serializers.CharField(max_length=350, help_text=SUBJECT)
    limit = serializers.IntegerField(min_value=1, required=False)
    cursor = serializers.CharField(required=False)


class Oldest(Cursor):
    ordering = "id"


@extend_schema_view(
    get=extend_schema(
        summary="What was said of something, oldest first",
        description="A deleted comment stays without its text.",
        parameters=[CommentsQuery],
    )
)
class CommentList(ProjectMixin, generics.ListAPIView[Comment]):
    roles: ClassVar = {"POST": Role.VIEWER}
    serializer_class = CommentShape
    pagination_class = Oldest

    def get_queryset(self) -> QuerySet[Comment]:
        if getattr(self, "swagger_fake_view", False):
            return Comment.objects.none()
        asked = checked_query(self.request, CommentsQuery)
        subject = _subject(self, asked["subject"])
        found = comments.of(project=self.project(), kind=subject.kind, reference=subject.reference)
        return found.prefetch_related("mentions")

    @idempotent
    @extend_schema(
        request=NewCommentShape,
        responses={201: CommentShape},
        summary="Say something",
        description="Every member may, viewers too. Members that it mentions are notified.",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = NewCommentShape(data=request.data)
        body.is_valid(raise_exception=True)
        made = comments.add(
            project=self.project(),
            subject=_subject(self, body.validated_data["subject"]),
            text=body.validated_data["text"],
            by=person(request),
        )
        return Response(CommentShape(made).data, status=201)


class CommentDetail(ProjectMixin, APIView):
    roles: ClassVar = {"PATCH": Role.VIEWER, "DELETE": Role.VIEWER}

    @extend_schema(responses=CommentShape, summary="A comment")
    def get(self, request: Request, project_slug: str, comment_id: int) -> Response:
        return Response(CommentShape(self._comment(comment_id)).data)

    @extend_schema(
        request=EditedCommentShape, responses=CommentShape, summary="Change a comment of one's own"
    )
    def patch(self, request: Request, project_slug: str, comment_id: int) -> Response:
        comment = self._comment(comment_id)
        body = EditedCommentShape(data=request.data)
        body.is_valid(raise_exception=True)
        changed = comments.edit(comment=comment, **body.validated_data, by=person(request))
        return Response(CommentShape(changed).data)

    @extend_schema(
        responses={204: None},
        summary="Delete a comment",
        description="One's own; owners delete anybody's. Its place stays, its text goes.",
    )
    def delete(self, request: Request, project_slug: str, comment_id: int) -> Response:
        comments.delete(comment=self._comment(comment_id), by=person(request))
        return Response(status=204)

    def _comment(self, comment_id: int) -> Comment:
        return comments.find(project=self.project(), comment_id=comment_id)


def _subject(view: ProjectMixin, text: str) -> subjects.Subject:
    kind, reference = subjects.parsed(text, among=subjects.DISCUSSED)
    return subjects.find(project=view.project(), kind=kind, reference=reference)
