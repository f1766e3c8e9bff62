"""Sending a version to a repository of a Hugging Face style hub: its files, exports and card.

It goes to HF_ENDPOINT, which an administrator chooses, and nowhere else; the address must be public
and encrypted, unless DISTILLHUB_OUTGOING_ALLOW names it. The token is kept with the model, sealed,
for that address alone: a hub elsewhere finds none. A worker sends (worker/publishing.py).
"""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from distillhub.lib import outgoing, secrets
from distillhub.lib.errors import Invalid, Missing
from projects.models import ApiKey, ModelVersion, RegisteredModel, User
from training.models import Export, Publication
from training.services import model_cards
from training.worker import publishing as sending

KNOWN = ("repository", "revision", "private", "weights", "exports", "message", "token")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
TOKEN = re.compile(r"[\x21-\x7e]{1,4000}", re.ASCII)
LONGEST_MESSAGE = 500
MOST_EXPORTS = 20

Faults = dict[str, list[str]]


def endpoint() -> str:
    return str(settings.HF_ENDPOINT).rstrip("/")


def publish(*, version: ModelVersion, asked: Mapping[str, Any], by: User) -> Publication:
    """Queue a publication. `asked` is {"repository", "revision"?, "private"?, "weights"?,
    "exports"?: [ids], "message"?, "token"?}: a token is kept, and need not be given again.

    Raises Invalid with every fault at its field.
    """
    faults: Faults = {
        name: [f"There is no such key; a publication knows {', '.join(KNOWN)}."]
        for name in asked
        if name not in KNOWN
    }
    repository = _text(asked, "repository", REPOSITORY, faults, "owner/name, such as acme/intents")
    revision = _text(asked, "revision", REVISION, faults, "a branch, such as main", usual="main")
    message = str(asked.get("message") or "").strip()
    if len(message) > LONGEST_MESSAGE or not message.isprintable():
        faults["message"] = [f"It is one line of at most {LONGEST_MESSAGE} characters."]
    private, weights = (_switch(asked, name, faults) for name in ("private", "weights"))
    exports = _exports(version, asked.get("exports"), faults)
    if version.status != ModelVersion.Status.READY or not version.files:
        raise Invalid(f"{version.reference} has no files, so there is nothing to send.")
    if not weights and not exports and "exports" not in faults:
        faults["weights"] = ["Send its own files, or an export."]
    token = _token(version.model, asked.get("token"), faults)
    _check_address(faults)
    if faults:
        first = next(iter(faults))
        raise Invalid(f"{first}: {faults[first][0]}", fields=faults)
    with transaction.atomic():
        if token:
            keep_token(model=version.model, token=token, by=by)
        publication = Publication.objects.create(
            version=version,
            endpoint=endpoint(),
            repository=repository,
            revision=revision,
            private=private,
            weights=weights,
            message=message or f"{version.reference}, from DistillHub",
            card=model_cards.card(version=version).markdown,
            created_by=by,
        )
        publication.exports.set(exports)
        sending.WORK.wake(publication)
    return publication


def listed(*, version: ModelVersion) -> QuerySet[Publication]:
    """Of a version, newest first."""
    found = Publication.objects.filter(version=version)
    return found.select_related("version__model", "created_by").prefetch_related("exports")


def find(*, version: ModelVersion, publication_id: int) -> Publication:
    """Raises Missing."""
    found = listed(version=version).filter(pk=publication_id).first()
    if found is None:
        raise Missing(f"{version.reference} has no publication {publication_id}.")
    return found


def token_of(*, model: RegisteredModel) -> ApiKey | None:
    """What is known of the token for the hub: never the token itself."""
    return model.api_keys.filter(origin=outgoing.origin(endpoint())).first()


def keep_token(*, model: RegisteredModel, token: str, by: User) -> ApiKey:
    written = {"sealed": secrets.seal(token), "ending": secrets.ending(token), "changed_by": by}
    origin = outgoing.origin(endpoint())
    kept, _ = ApiKey.objects.update_or_create(model=model, origin=origin, defaults=written)
    return kept


def forget_token(*, model: RegisteredModel, by: User) -> None:
    """Raises Missing."""
    removed, _ = model.api_keys.filter(origin=outgoing.origin(endpoint())).delete()
    if not removed:
        raise Missing(f"{model.name} has no token for the hub.")


def _check_address(faults: Faults) -> None:
    try:
        outgoing.check(endpoint())
    except outgoing.Refused as refused:
        faults["repository"] = [f"Nothing is sent to the hub at {endpoint()}. {refused.detail}"]


def _token(model: RegisteredModel, given: Any, faults: Faults) -> str:
    text = given.strip() if isinstance(given, str) else given
    if text in (None, ""):
        if token_of(model=model) is None:
            faults["token"] = ["Give a token of the hub that may write to the repository."]
        return ""
    if not isinstance(text, str) or not TOKEN.fullmatch(text):
        faults["token"] = ["A token is one line of printable characters without blanks."]
        return ""
    return text


def _text(
    asked: Mapping[str, Any],
    name: str,
    pattern: re.Pattern[str],
    faults: Faults,
    looks: str,
    usual: str = "",
) -> str:
    value = asked.get(name)
    text = value.strip() if isinstance(value, str) else value
    text = usual if text in (None, "") else text
    if not isinstance(text, str) or not pattern.fullmatch(text) or ".." in text:
        faults[name] = [f"It is {looks}."]
        return ""
    return text


def _switch(asked: Mapping[str, Any], name: str, faults: Faults) -> bool:
    value = asked.get(name, True)
    if not isinstance(value, bool):
        faults[name] = ["It is true or false."]
        return True
    return value


def _exports(version: ModelVersion, ids: Any, faults: Faults) -> list[Export]:
    if ids in (None, []):
        return []
    known = isinstance(ids, list) and all(type(one) is int and 0 < one < 2**53 for one in ids)
    if not known:
        faults["exports"] = ["It is a list of ids of exports."]
        return []
    ready = Export.objects.filter(version=version, status=Export.Status.READY, pk__in=ids)
    found = list(ready[:MOST_EXPORTS])
    missing = sorted(set(ids) - {one.pk for one in found})
    if missing:
        faults["exports"] = [f"{version.reference} has no ready export {missing[0]}."]
    forms = [one.format for one in found]
    if len(forms) != len(set(forms)):
        faults["exports"] = ["Choose one export of each form: they would overwrite each other."]
    return found
