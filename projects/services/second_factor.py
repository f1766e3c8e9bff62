"""Codes of an authenticator app, and the recovery codes beside them (django-allauth's)."""

import logging
from typing import Any

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.forms import ValidationError
from django.http import HttpRequest

from distillhub.lib import secrets
from projects.models import User
from projects.services import audit, guesses

log = logging.getLogger(__name__)

ELSEWHERE = "A browser in which you used a code before has tries of its own."
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


def begin(user: User, request: HttpRequest) -> None:
    """Count a try before it is judged. Raises ValidationError when there were too many; of the
    first of these the person hears: whoever is asked for a code has given their password."""
    try:
        guesses.begin_code(request, user)
    except guesses.TooMany as refused:
        if refused.is_first:
            audit.record("sign_in.codes_locked", by=user, subject=user.username)
            get_adapter().send_notification_mail("mfa/email/codes_guessed", user)
        sentence = (
            f"{refused.detail} A browser in which you used a code before has tries of its own."
        )
        raise ValidationError(sentence, code=refused.code) from None


def accept(user: User, code: str, kind: str, request: HttpRequest) -> None:
    """A code was right: it is good once, over all processes and however it is written. Raises
    ValidationError."""
    plain = normalize_user_code(code)
    if kind == Authenticator.Type.TOTP and not guesses.once(guesses.CODE, f"{user.pk} {plain}"):
        raise ValidationError(WRONG, code="incorrect_code")
    guesses.right_code(request, user)


def reset(*, user: User) -> bool:
    """Forget it: the person signs in without, and may set up another. Whether there was one."""
    guesses.forget_codes(user)
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
