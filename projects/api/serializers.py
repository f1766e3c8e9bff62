"""What people, projects, members and tokens look like in JSON. Shape only: rules live in services.

Fields that are not named here cannot be set through REST, whatever a body contains.
"""

from typing import Any, ClassVar

from rest_framework import serializers

from projects.models import ApiToken, Membership, Project, Role, User


class ProjectSerializer(serializers.ModelSerializer[Project]):
    role = serializers.SerializerMethodField(help_text="Yours, in this project.")
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    description = serializers.CharField(max_length=2000, allow_blank=True, default="")

    class Meta:
        model = Project
        fields: ClassVar = [
            "slug",
            "name",
            "description",
            "role",
            "created_by",
            "created_at",
            "archived_at",
        ]
        read_only_fields: ClassVar = ["slug", "created_at", "archived_at"]

    def get_role(self, project: Project) -> Role:
        role = getattr(project, "role", None) or project.my_role
        return Role(role or Role.VIEWER)


class ProjectChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    description = serializers.CharField(max_length=2000, allow_blank=True, required=False)
    archived = serializers.BooleanField(required=False, help_text="False restores the project.")


class MemberSerializer(serializers.ModelSerializer[Membership]):
    username = serializers.CharField(source="user.username", read_only=True)
    name = serializers.CharField(source="user.display_name", read_only=True)
    email = serializers.CharField(source="user.email", read_only=True)
    since = serializers.DateTimeField(source="created_at", read_only=True)

    class Meta:
        model = Membership
        fields: ClassVar = ["username", "name", "email", "role", "since"]


class MemberAddSerializer(serializers.Serializer[Any]):
    email = serializers.CharField(max_length=254, help_text="An e-mail address or a username.")
    role = serializers.ChoiceField(choices=Role.choices, default=Role.VIEWER)


class MemberRoleSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=Role.choices)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    project = serializers.SlugRelatedField[Project](
        slug_field="slug",
        read_only=True,
        allow_null=True,
        help_text="The only one it opens; null: all of yours.",
    )
    created_by = serializers.SlugRelatedField[User](
        slug_field="username", read_only=True, allow_null=True
    )

    class Meta:
        model = ApiToken
        fields: ClassVar = [
            "id",
            "name",
            "scope",
            "project",
            "prefix",
            "created_by",
            "created_at",
            "expires_at",
            "last_used_at",
            "rotated_at",
        ]
        read_only_fields: ClassVar = ["id", "prefix", "created_at", "last_used_at", "rotated_at"]


class TokenAskedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, help_text="What will use it.")
    scope = serializers.ChoiceField(
        choices=ApiToken.Scope.choices,
        default=ApiToken.Scope.WRITE,
        help_text="`track`: only runs trained elsewhere; `infer`: only questions and live rows.",
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Null, or left out: never."
    )


class MyTokenAskedSerializer(TokenAskedSerializer):
    project = serializers.SlugField(
        max_length=100, required=False, allow_null=True, help_text="To open this one alone."
    )


class TokenRotateSerializer(serializers.Serializer[Any]):
    grace_hours = serializers.IntegerField(
        min_value=0,
        max_value=168,
        default=24,
        help_text="For so long the old one stays good, too.",
    )


class NewTokenSerializer(TokenSerializer):
    token = serializers.CharField(
        allow_null=True, read_only=True, help_text="Shown in this answer and never again."
    )

    class Meta(TokenSerializer.Meta):
        fields: ClassVar = [*TokenSerializer.Meta.fields, "token"]


class MyProjectSerializer(serializers.ModelSerializer[Membership]):
    slug = serializers.CharField(source="project.slug", read_only=True)
    name = serializers.CharField(source="project.name", read_only=True)

    class Meta:
        model = Membership
        fields: ClassVar = ["slug", "name", "role"]


class MeSerializer(serializers.ModelSerializer[User]):
    name = serializers.CharField(source="display_name", read_only=True)
    projects = MyProjectSerializer(many=True, source="active_memberships", read_only=True)
    token = TokenSerializer(
        allow_null=True, read_only=True, help_text="The one this was asked with; null in a browser."
    )

    class Meta:
        model = User
        fields: ClassVar = [
            "username",
            "name",
            "first_name",
            "last_name",
            "email",
            "time_zone",
            "projects",
            "token",
        ]
        read_only_fields: ClassVar = ["username"]


class MeChangeSerializer(serializers.Serializer[Any]):
    first_name = serializers.CharField(max_length=150, allow_blank=True, required=False)
    last_name = serializers.CharField(max_length=150, allow_blank=True, required=False)
    email = serializers.CharField(max_length=254, allow_blank=True, required=False)
    time_zone = serializers.CharField(max_length=64, required=False)
