"""What people do with their own account: ways in, tokens, profile, password."""

from datetime import datetime, timedelta
from functools import cache
from zoneinfo import available_timezones

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from distillhub.lib import tokens
from distillhub.lib.errors import Invalid, Missing
from projects.models import ApiToken, Project, SignInLink, User
from projects.services import addresses, guesses

LINK_LIFE = timedelta(minutes=30)
FIRST_LINK_LIFE = timedelta(days=3)  # of who has no other way in yet
TOKEN_PREFIX = "dh_"  # noqa: S105 -- the beginning of every token, no secret
RECOGNISABLE = 8  # characters of a token that stay visible
MOST_TOKENS = 100  # usable ones a person


class LinkSpent(Missing):
    """The link was used before, is too old, or never was."""

    code = "link_spent"


@cache
def time_zones() -> tuple[str, ...]:
    """Those this machine knows, sorted; found by walking its disk, hence once."""
    return tuple(sorted(available_timezones()))


def make_sign_in_link(*, user: User, life: timedelta = LINK_LIFE) -> str:
    """The raw token of a link that signs `user` in once within `life`; only its digest is kept."""
    token = tokens.make()
    SignInLink.objects.create(
        user=user, digest=tokens.digest(token), expires_at=timezone.now() + life
    )
    return token


def redeem_sign_in_link(*, token: str) -> User:
    """The person the link signs in. Of two redemptions at once exactly one wins.

    Raises LinkSpent.
    """
    # The conditions are all on this row: one UPDATE decides. A join to the person would be
    # evaluated before the row lock, and could let a second redemption through.
    now = timezone.now()
    fresh = SignInLink.objects.filter(digest=tokens.digest(token), used_at=None, expires_at__gt=now)
    if fresh.update(used_at=now):
        user = SignInLink.objects.select_related("user").get(digest=tokens.digest(token)).user
        if user.is_active:
            return user
    raise LinkSpent("This sign-in link has been used or has expired. Ask for a new one.")


@transaction.atomic
def create_token(
    *,
    user: User,
    name: str,
    scope: str = ApiToken.Scope.WRITE,
    expires_at: datetime | None = None,
    made_with: ApiToken | None = None,
    project: Project | None = None,
    created_by: User | None = None,
) -> tuple[ApiToken, str]:
    """The row and the raw token, which is never seen again.

    A token made with another token (`made_with`) does not outlive it. With `project` it opens that
    one alone. Raises Invalid.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise _invalid("name", "Give the token a name of at most 100 characters.")
    if scope not in ApiToken.Scope.values:
        raise _invalid("scope", "The scope is read, write, track or infer.")
    if made_with is not None and made_with.expires_at is not None:
        expires_at = min(expires_at or made_with.expires_at, made_with.expires_at)
    if expires_at is not None and expires_at <= timezone.now():
        raise _invalid("expires_at", "Choose a time in the future.")
    if ApiToken.objects.usable().filter(user=user).count() >= MOST_TOKENS:
        raise Invalid(f"You have {MOST_TOKENS} tokens; revoke some first.", code="too_many")
    raw = tokens.make(TOKEN_PREFIX)
    row = ApiToken.objects.create(
        user=user,
        name=name,
        scope=scope,
        prefix=raw[:RECOGNISABLE],
        digest=tokens.digest(raw),
        expires_at=expires_at,
        project=project,
        created_by=created_by or user,
    )
    return row, raw


def revoke_token(*, token: ApiToken, by: User) -> None:
    """From now on the token opens nothing. Raises Missing when it is somebody else's."""
    if token.user_id != by.pk:
        raise Missing("There is no such token.")
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())


def change_profile(
    *,
    user: User,
    first_name: str | None = None,
    last_name: str | None = None,
    email: str | None = None,
    time_zone: str | None = None,
) -> None:
    """Change what is given; the rest stays. A new address counts once it is confirmed, where this
    installation can write to it. Raises Invalid with fields."""
    changed: list[str] = []
    for field, value in (("first_name", first_name), ("last_name", last_name)):
        if value is not None:
            if len(value) > 150:
                raise _invalid(field, "At most 150 characters.")
            setattr(user, field, value.strip())
            changed.append(field)
    free = free_address(email, user) if email is not None else user.email
    if time_zone is not None:
        if time_zone not in time_zones():
            raise _invalid("time_zone", "Choose a time zone such as Europe/Zurich.")
        user.time_zone = time_zone
        changed.append("time_zone")
    user.save(update_fields=changed)
    if free != user.email:
        addresses.change(user=user, email=free)


def change_password(*, user: User, password: str) -> None:
    """Set a new password; sessions opened with the old one end, and links that were made before.
    Raises Invalid with fields."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as weak:
        raise Invalid(
            "This password is too easy to guess.", fields={"password": weak.messages}
        ) from None
    user.set_password(password)
    user.save(update_fields=["password"])
    SignInLink.objects.filter(user=user, used_at=None).update(used_at=timezone.now())
    guesses.forget_codes(user)  # not so after a letter: whoever reads the letters could go on


def free_address(email: str, user: User | None = None) -> str:
    """The address, if nobody else has it. Raises Invalid with fields."""
    email = email.strip()
    if not email:
        return ""
    try:
        validate_email(email)
    except ValidationError:
        raise _invalid("email", "This is not an e-mail address.") from None
    # Members are invited by their address: two people with one address would be ambiguous.
    others = User.objects.exclude(pk=user.pk) if user is not None else User.objects.all()
    if others.filter(email__iexact=email).exists():
        raise _taken()
    return email


def _taken() -> Invalid:
    return _invalid("email", "Somebody else uses this address.")


def _invalid(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
