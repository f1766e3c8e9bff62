"""Other libraries' settings in our convention, and back."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid
from training.api.run_serializers import ObjectField
from training.services import recipes


@extend_schema_field({"type": "array", "items": {"type": "object", "additionalProperties": True}})
class ObjectsField(serializers.JSONField):
    pass


class RecipeShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a column, not this field's own
    summary = serializers.CharField()
    formula = serializers.CharField(help_text="Its total, in its own words.")
    ours = serializers.CharField(help_text="The same in our terms.")
    paper = serializers.CharField(help_text="The code that was read.")
    traps = serializers.ListField(child=serializers.CharField())
    counts_classes = serializers.BooleanField(
        help_text="Whether the number of classes can change the weights."
    )
    options = ObjectsField(help_text="As methods/ describes options.")


class RecipesShape(serializers.Serializer[Any]):
    results = RecipeShape(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class TranslateShape(serializers.Serializer[Any]):
    """Settings of a library, or losses of a run to be said in its settings: one of both."""

    recipe = serializers.CharField(help_text="A key of recipes/.")
    options = ObjectField(required=False, help_text="The library's own; its defaults for the rest.")
    losses = ObjectsField(required=False, help_text="As in a run configuration.")
    scheme = serializers.JSONField(required=False, help_text="Beside losses, as in a run's.")
    classes = serializers.IntegerField(
        required=False, allow_null=True, min_value=2, max_value=10_000_000,
        help_text="Where a library divides by their number.",
    )  # fmt: skip


class TranslatedShape(serializers.Serializer[Any]):
    recipe = serializers.CharField()
    options = ObjectField(help_text="Complete.")
    losses = ObjectsField(help_text="For a run configuration.")
    scheme = serializers.JSONField(help_text="Its key, or an object of its options.")
    formula = serializers.CharField()
    notes = serializers.ListField(child=serializers.CharField())


class RecipeList(APIView):
    @extend_schema(responses=RecipesShape, summary="Recipes of other libraries")
    def get(self, request: Request) -> Response:
        return Response({"results": recipes.listed(), "next": None, "previous": None})


class RecipeTranslate(APIView):
    @extend_schema(
        request=TranslateShape,
        responses=TranslatedShape,
        summary="Say a library's settings as losses of a run, or losses in its settings",
        description="What cannot be said in the other language is refused at its field.",
    )
    def post(self, request: Request) -> Response:
        body = TranslateShape(data=request.data)
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        if "losses" not in asked:
            asked.pop("scheme", None)
            return Response(recipes.translate(**asked))
        if "options" in asked:
            one = ["Give either options or losses: one is translated into the other."]
            raise Invalid(one[0], fields={"losses": one})
        return Response(recipes.translate_back(**asked))
