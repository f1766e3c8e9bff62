"""What webhooks send: the body of an event, and the schemas by which programs read it."""

import json
from typing import Any

from projects.models import Event, event_kinds
from projects.services import subjects

JSON = dict[str, Any]
TEST = "test"


def message_id(webhook_id: int, event_id: int) -> str:
    """Kept over all tries, so that a receiver takes each event once."""
    return f"msg_{event_id}_{webhook_id}"


def body_of(event: Event) -> JSON:
    """`{"type", "timestamp", "data"}`, as Standard Webhooks has it."""
    return {
        "type": event.kind,
        "timestamp": event.at.isoformat(),
        "data": {
            "event": event.pk,
            "project": event.project.slug,
            "subject": {
                "kind": event.subject_kind,
                "reference": event.subject,
                "title": event.title,
                "url": subjects.link(
                    slug=event.project.slug, kind=event.subject_kind, reference=event.subject
                ),
            },
            "sentence": event.sentence,
            "by": event.by.username if event.by is not None else None,
            "facts": event.data,
        },
    }


def content(body: JSON) -> bytes:
    """As it is sent and signed: the same bytes at every try."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def schema_of(kind: event_kinds.Kind) -> JSON:
    """JSON Schema of a whole message of a kind."""
    text = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.key,
        "description": kind.when,
        "type": "object",
        "properties": {
            "type": {"const": kind.key},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {
                "type": "object",
                "properties": {
                    "event": {"type": "integer"},
                    "project": text,
                    "subject": {
                        "type": "object",
                        "properties": {
                            "kind": {"const": kind.about} if kind.about else text,
                            "reference": text,
                            "title": text,
                            "url": {"type": "string", "format": "uri"},
                        },
                        "required": ["kind", "reference", "title", "url"],
                        "additionalProperties": False,
                    },
                    "sentence": text,
                    "by": {"type": ["string", "null"]},
                    "facts": kind.schema,
                },
                "required": ["event", "project", "subject", "sentence", "by", "facts"],
                "additionalProperties": False,
            },
        },
        "required": ["type", "timestamp", "data"],
        "additionalProperties": False,
    }
