"""Champion and challenger: rules of aliases, promotions, and what aliases meant."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Missing
from projects.api.base import idempotent, person
from projects.models import AliasChange, AliasRules, Role
from training.api.model_serializers import AliasShape
from training.api.models import ModelMixin
from training.api.run_serializers import ObjectField
from training.models import Promotion
from training.services import promotion
from training.services.promotion_rules import RulesShape

ALIAS = OpenApiParameter("alias", str, description="production, unless said otherwise.")


class CheckShape(serializers.Serializer[Any]):
    rule = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # Field has a label too
    passed = serializers.BooleanField()
    sentence = serializers.CharField()
    asked = serializers.JSONField(allow_null=True)
    found = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    rows = serializers.IntegerField(allow_null=True)
    slices = serializers.ListField(
        child=ObjectField(), help_text="name, rows, difference, told, interval, few, passed."
    )


class JudgementShape(serializers.Serializer[Any]):
    model = serializers.CharField(source="version.reference")
    alias = serializers.CharField()
    champion = serializers.CharField(source="champion.reference", allow_null=True, default=None)
    rules = ObjectField()
    checks = CheckShape(many=True)
    passed = serializers.BooleanField()
    sentence = serializers.CharField()


class PromotionShape(serializers.ModelSerializer[Promotion]):
    model = serializers.CharField(source="version.reference")
    champion = serializers.CharField(source="champion.reference", allow_null=True, default=None)
    rules = ObjectField()
    checks = CheckShape(many=True)
    by = serializers.CharField(source="by.username")

    class Meta:
        model = Promotion
        fields: ClassVar = [
            "id", "model", "alias", "champion", "rules", "checks", "passed", "moved", "reason",
            "by", "at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields


class NewPromotion(serializers.Serializer[Any]):
    alias = serializers.CharField(max_length=100, default="production")
    override = serializers.CharField(
        max_length=promotion.LONGEST_REASON,
        default="",
        allow_blank=True,
        help_text="An owner's reason for moving the alias though a rule does not hold.",
    )


class AliasChangeShape(serializers.ModelSerializer[AliasChange]):
    model = serializers.CharField(source="version.reference", allow_null=True, default=None)
    by = serializers.CharField(source="by.username")

    class Meta:
        model = AliasChange
        fields: ClassVar = ["name", "model", "how", "reason", "by", "at"]
        read_only_fields: ClassVar = fields


class AliasRulesShape(serializers.ModelSerializer[AliasRules]):
    alias = serializers.CharField(source="name")
    rules = ObjectField()
    changed_by = serializers.CharField(source="changed_by.username")

    class Meta:
        model = AliasRules
        fields: ClassVar = ["alias", "rules", "changed_by", "changed_at"]
        read_only_fields: ClassVar = fields


class VersionPromote(ModelMixin, APIView):
    """A version against an alias's rules and its champion."""

    @extend_schema(
        operation_id="model_versions_judge",
        summary="Would a version be promoted?",
        parameters=[ALIAS],
        responses=JudgementShape,
        description="Each rule with its numbers and a sentence. Nothing is changed.",
    )
    def get(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        alias = request.query_params.get("alias", "") or "production"
        found = promotion.judge(version=self.version(), alias=alias)
        return Response(JudgementShape(found).data)

    @extend_schema(
        operation_id="model_versions_promote",
        summary="Promote a version",
        request=NewPromotion,
        responses={201: PromotionShape},
        description="Hold the version against the alias's rules and its champion, keep what was "
        "found, and move the alias when every rule holds: `moved` says whether it was. An owner's "
        "`override` moves it all the same, and stays visible.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        version = self.version()
        asked = NewPromotion(data=request.data)
        asked.is_valid(raise_exception=True)
        kept = promotion.promote(
            project=self.project(), version=version, by=person(request), **asked.validated_data
        )
        return Response(PromotionShape(kept).data, status=status.HTTP_201_CREATED)


class PromotionList(ModelMixin, generics.ListAPIView[Promotion]):
    """What was held against the rules of a model's aliases, newest first."""

    serializer_class = PromotionShape

    def get_queryset(self) -> QuerySet[Promotion]:
        if getattr(self, "swagger_fake_view", False):
            return Promotion.objects.none()
        alias = self.request.query_params.get("alias", "")
        return promotion.attempts(model=self.model(), alias=alias)

    @extend_schema(
        operation_id="promotions_list",
        summary="Promotions of a model, passed or not",
        parameters=[OpenApiParameter("alias", str)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class AliasRulesDetail(ModelMixin, APIView):
    """The rules of one alias: PUT lets it move by promotion alone, DELETE by hand again."""

    roles: ClassVar = {"PUT": Role.OWNER, "DELETE": Role.OWNER}

    @extend_schema(
        operation_id="alias_rules_retrieve",
        summary="The rules of an alias",
        responses=AliasRulesShape,
    )
    def get(self, request: Request, project_slug: str, model_name: str, alias: str) -> Response:
        kept = promotion.ruled(model=self.model()).filter(name=alias).first()
        if kept is None:
            raise Missing(f"{alias} has no rules.")
        return Response(AliasRulesShape(kept).data)

    @extend_schema(
        operation_id="alias_rules_set",
        summary="Set the rules of an alias",
        request=RulesShape,
        responses=AliasRulesShape,
    )
    def put(self, request: Request, project_slug: str, model_name: str, alias: str) -> Response:
        kept = promotion.set_rules(
            model=self.model(), alias=alias, rules=request.data, by=person(request)
        )
        return Response(AliasRulesShape(kept).data)

    @extend_schema(
        operation_id="alias_rules_remove", summary="Remove an alias's rules", responses={204: None}
    )
    def delete(self, request: Request, project_slug: str, model_name: str, alias: str) -> Response:
        promotion.remove_rules(model=self.model(), alias=alias, by=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class AliasHistory(ModelMixin, generics.ListAPIView[AliasChange]):
    """What an alias meant, newest first."""

    serializer_class = AliasChangeShape

    def get_queryset(self) -> QuerySet[AliasChange]:
        if getattr(self, "swagger_fake_view", False):
            return AliasChange.objects.none()
        return promotion.history(model=self.model(), alias=self.kwargs["alias"])

    @extend_schema(operation_id="alias_history", summary="What an alias meant")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class AliasRollback(ModelMixin, APIView):
    """Back to what an alias meant before."""

    @extend_schema(
        operation_id="alias_rollback",
        summary="Let an alias mean what it meant before",
        request=None,
        responses=AliasShape,
        description="Twice goes two versions back. 409 where it meant nothing else.",
    )
    def post(self, request: Request, project_slug: str, model_name: str, alias: str) -> Response:
        moved = promotion.roll_back(model=self.model(), alias=alias, by=person(request))
        return Response(AliasShape(moved).data)
