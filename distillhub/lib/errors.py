"""Expected failures: facts about a request that a person can act on.

DomainError
├── Invalid         400  what was sent cannot be used; `fields` names where
├── Forbidden       403  a member whose role is too low
├── Missing         404  it does not exist for this person
├── Conflict        409  it is at odds with what is there
├── TooLarge        413
└── Unavailable     503  a part of the system is away; try again

Subclasses live beside the function that raises them. REST answers `{"detail", "code", "fields"}`
with `status`; pages show the same sentence at the field.
"""

from collections.abc import Mapping, Sequence


class DomainError(Exception):
    status = 400
    code = "invalid"
    retry_after: int | None = None  # seconds; answered as the header Retry-After

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        fields: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.fields = {name: list(sentences) for name, sentences in (fields or {}).items()}


class Invalid(DomainError):
    status, code = 400, "invalid"


def refuse(faults: Mapping[str, Sequence[str]]) -> None:
    """Raises Invalid with each fault at its field, and the first in words, where there are any."""
    if faults:
        at, said = next(iter(faults.items()))
        raise Invalid(f"{at}: {said[0]}", fields=faults)


class Forbidden(DomainError):
    status, code = 403, "forbidden"


class Missing(DomainError):
    status, code = 404, "not_found"


class Conflict(DomainError):
    status, code = 409, "conflict"


class TooLarge(DomainError):
    status, code = 413, "too_large"


class Unavailable(DomainError):
    status, code = 503, "unavailable"
    retry_after = 5
