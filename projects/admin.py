"""For administrators of an installation: people, their ways in, projects. Nothing is made here that
the services would refuse; what a version or a token holds is read only."""

from typing import ClassVar

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from projects.models import ApiToken, Dataset, Membership, Project, RegisteredModel, User

# It asks for no password of its own: it would ask for no second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "email", "display_name", "is_active", "is_staff", "last_login")
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Pages", {"fields": ("time_zone",)}))


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Membership
    extra = 0
    autocomplete_fields: ClassVar = ["user"]


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug", "created_by", "created_at", "archived_at")
    search_fields = ("name", "slug")
    readonly_fields = ("slug", "created_by", "created_at")
    inlines: ClassVar = [MembershipInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a project without an owner would be nobody's


class ReadOnly:
    """Rows that only the product itself makes and changes."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """To see who has which, and to delete one that leaked; the token itself is nowhere."""

    list_display = ("name", "prefix", "user", "scope", "created_at", "expires_at", "last_used_at")
    search_fields = ("name", "prefix", "user__username")
    exclude = ("digest",)


@admin.register(Dataset)
class DatasetAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "project", "task", "created_by", "created_at")
    search_fields = ("name", "project__slug")


@admin.register(RegisteredModel)
class RegisteredModelAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "project", "role", "task", "created_by", "created_at")
    search_fields = ("name", "project__slug")
