"""What differs between two versions."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from projects.api.datasets import OfVersion
from projects.services import diffs


class DiffQuerySerializer(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is a word of Python's.
        return {
            "from": serializers.CharField(
                max_length=130,
                help_text="The version that is compared with: its number, or `other@2` of another "
                "dataset of the project.",
            ),
            "kind": serializers.ChoiceField(
                choices=diffs.KINDS, required=False, help_text="Also answer rows of this kind."
            ),
            "limit": serializers.IntegerField(min_value=1, max_value=1000, default=100),
            "offset": serializers.IntegerField(min_value=0, max_value=2**53, default=0),
        }


class DiffSerializer(serializers.Serializer[Any]):
    """`splits` and `labels` count the rows of each kind; of labels the 200 most frequent."""

    by = serializers.CharField(
        help_text="The column of ids by which rows are found again; empty: by what their input is."
    )
    same = serializers.IntegerField()
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    changed = serializers.IntegerField()
    columns = serializers.DictField(
        child=serializers.IntegerField(), help_text="In how many changed rows a column differs."
    )
    columns_added = serializers.ListField(child=serializers.CharField())
    columns_removed = serializers.ListField(child=serializers.CharField())
    splits = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    labels = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    relabelled = serializers.ListField(
        child=serializers.ListField(), help_text="[label before, label now, rows]"
    )
    results = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        help_text="Rows of `kind`; of changed ones `from_row`, `to_row`, `row` and `changes` "
        "({column: [before, now]}).",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        reference = serializers.CharField()
        return {"from": reference, "to": serializers.CharField(), **super().get_fields()}


class VersionDiff(OfVersion):
    @extend_schema(
        parameters=[DiffQuerySerializer],
        responses=DiffSerializer,
        summary="What differs between two versions",
    )
    def get(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        new = self.version()
        query = DiffQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        old = diffs.version_meant(project=self.project(), name=dataset_name, said=asked["from"])
        found = diffs.between(old=old, new=new)
        said = {"from": old.reference, "to": new.reference, **found.told}
        if kind := asked.get("kind"):
            said["results"] = found.rows(kind, offset=asked["offset"], limit=asked["limit"])
        return Response(said)
