"""What calls in the inbox look like in JSON, and what may be asked of them."""

import json
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from projects.models import StoredCompletion
from projects.services.completions import MOST_AT_ONCE

MOST_BYTES = 1 << 20  # of a request, or of an answer
MOST_METADATA, MOST_KEY, MOST_VALUE = 16, 64, 512  # as OpenAI has them
MOST_TAGS, MOST_TAG = 20, 64
TAG = r"\A[A-Za-z0-9][A-Za-z0-9._:/-]*\Z"


@extend_schema_field(OpenApiTypes.OBJECT)
class OpenObject(serializers.JSONField):
    """A JSON object of any keys, of bounded size."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise serializers.ValidationError("This must be a JSON object.")
        if len(json.dumps(value)) > MOST_BYTES:
            raise serializers.ValidationError(f"This is larger than {MOST_BYTES >> 20} MiB.")
        return value


class Metadata(serializers.DictField):
    child = serializers.CharField(max_length=MOST_VALUE, allow_blank=True)

    def to_internal_value(self, data: Any) -> Any:
        found = super().to_internal_value(data)
        if len(found) > MOST_METADATA or any(len(key) > MOST_KEY for key in found):
            raise serializers.ValidationError(
                f"At most {MOST_METADATA} keys of {MOST_KEY} characters may be."
            )
        return found


class CallSerializer(serializers.Serializer[Any]):
    """A call to a chat model with its answer, both as OpenAI's API has them."""

    id = serializers.CharField(
        max_length=200,
        required=False,
        help_text="Sent twice it is one call. Left out, it is the answer's `id`.",
    )
    request = OpenObject(help_text="`model`, `messages` and whatever else was asked with.")
    response = OpenObject(help_text="The answer whole: `choices`, `usage`, `model`, `created`.")
    created_at = serializers.DateTimeField(
        required=False, help_text="Left out, it is the answer's `created`, or now."
    )
    latency_ms = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    metadata = Metadata(required=False)
    tags = serializers.ListField(
        child=serializers.RegexField(TAG, max_length=MOST_TAG), required=False, max_length=MOST_TAGS
    )

    def validate_request(self, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("messages"), list) and not isinstance(value.get("prompt"), str):
            raise serializers.ValidationError("It has no `messages`.")
        return value

    def validate_response(self, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("choices"), list) or not value["choices"]:
            raise serializers.ValidationError("It has no `choices`.")
        return value


class CallsSerializer(serializers.Serializer[Any]):
    completions = serializers.ListField(
        child=CallSerializer(), allow_empty=False, max_length=MOST_AT_ONCE
    )


class ReceivedSerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.CharField())
    received = serializers.IntegerField(help_text="Calls that were new.")
    repeated = serializers.IntegerField(help_text="Calls that were here already.")


class CompletionSerializer(serializers.ModelSerializer[StoredCompletion]):
    """A call as it stands in the list."""

    id = serializers.CharField(source="key", read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = StoredCompletion
        fields: ClassVar = [
            *("id", "called_at", "received_at", "model", "asked", "answered", "finish_reason"),
            *("input_tokens", "output_tokens", "latency_ms", "metadata", "tags"),
        ]
        read_only_fields: ClassVar = fields


class WholeCompletionSerializer(CompletionSerializer):
    class Meta(CompletionSerializer.Meta):
        fields: ClassVar = [*CompletionSerializer.Meta.fields, "request", "response"]
        read_only_fields: ClassVar = fields


class WantedSerializer(serializers.Serializer[Any]):
    """Which calls: every condition that is given must hold."""

    model = serializers.CharField(max_length=200, required=False)
    q = serializers.CharField(
        max_length=200,
        required=False,
        help_text="Stands in the last words of the user or in the answer, in any case.",
    )
    tag = serializers.RegexField(TAG, max_length=MOST_TAG, required=False)
    metadata = Metadata(required=False, help_text="In an address: `metadata[key]=value`.")
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    finish_reason = serializers.CharField(max_length=50, required=False)


class PromotionSerializer(WantedSerializer):
    """The dataset that calls become."""

    name = serializers.CharField(
        max_length=100, help_text="Of a new dataset, or of one that gets its next version."
    )
    task = serializers.ChoiceField(
        choices=["text-generation", "text-classification"],
        default="text-generation",
        help_text="Chats to learn to write from; or the last words of a user, labelled with the "
        "answer.",
    )
