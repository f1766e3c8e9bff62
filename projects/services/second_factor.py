"""Codes of an authenticator app, and the recovery codes beside them (django-allauth's)."""

from typing import Any

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.forms import ValidationError

from distillhub.lib import secrets
from projects.models import User
from projects.services import guesses

WRONG = "This code is not right, or was used before."
SEALED = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}


class Adapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Seals what codes are made of, as keys of APIs are."""

    error_messages = DefaultMFAAdapter.error_messages | {"incorrect_code": WRONG}

    def encrypt(self, text: str) -> str:
        return secrets.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return secrets.unseal(encrypted_text)

    def get_totp_label(self, user: User) -> str:
        return user.username


def is_on(user: User) -> bool:
    found = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP)
    return bool(found.exists())


def begin(user: User) -> None:
    """Count a try before it is judged. Raises ValidationError when there were too many."""
    try:
        guesses.take(guesses.CODE, user.pk, most=settings.DISTILLHUB_GUESSES)
    except guesses.TooMany as refused:
        raise ValidationError(refused.detail, code=refused.code) from None


def accept(user: User, code: str, kind: str) -> None:
    """A code was right: it is good once, over all processes and however it is written. Raises
    ValidationError."""
    plain = normalize_user_code(code)
    if kind == Authenticator.Type.TOTP and not guesses.once(guesses.CODE, f"{user.pk} {plain}"):
        raise ValidationError(WRONG, code="incorrect_code")
    guesses.forget(guesses.CODE, user.pk)


def reset(*, user: User) -> bool:
    """Forget it: the person signs in without, and may set up another. Whether there was one."""
    return bool(Authenticator.objects.filter(user=user).delete()[0])


def seal_again() -> tuple[int, list[User]]:
    """Seal all with the newest key: how many, and whose could not be opened."""
    done, closed = 0, []
    for pk in Authenticator.objects.values_list("pk", flat=True):
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().filter(pk=pk).first()
            if row is None or row.type not in SEALED:
                continue
            name = SEALED[Authenticator.Type(row.type)]
            data: dict[str, Any] = row.data
            try:
                row.data = data | {name: secrets.seal_again(data[name])}
            except secrets.Unreadable:
                closed.append(row.user)
                continue
            row.save(update_fields=["data"])
            done += 1
    return done, closed
