"""What a JSON body may ask for that makes the next version of a dataset."""

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, inline_serializer
from rest_framework import serializers

from projects.operations import registry
from projects.operations.operation import Operation


def operation_serializer() -> PolymorphicProxySerializer:
    """One shape for each operation, told apart by `operation`; for OpenAPI only."""
    return PolymorphicProxySerializer(
        component_name="Operation",
        serializers={key: _shape(one) for key, one in registry.operations().items()},
        resource_type_field_name="operation",
    )


def _shape(operation: Operation) -> serializers.Serializer[Any]:
    """The operation's options beside its name and the version that it starts from."""
    name = "".join(part.capitalize() for part in operation.key.split("_"))
    fields: dict[str, Any] = {
        "operation": serializers.ChoiceField(choices=[operation.key], help_text=operation.summary),
        "version": serializers.IntegerField(
            min_value=1, required=False, help_text="The newest that is ready, if left out."
        ),
    }
    return inline_serializer(f"{name}Operation", fields | operation.Options().get_fields())
