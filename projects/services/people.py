"""What administrators of an installation do with the people on it."""

from allauth.mfa.models import Authenticator
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from distillhub.lib.errors import Conflict, Forbidden, Invalid, Missing
from projects.models import ApiToken, Invitation, SignInLink, User
from projects.services import accounts, assignees, audit, second_factor, sessions

MOST_SHOWN = 500


class LastAdministrator(Conflict):
    """Without this one nobody could look after the installation."""

    code = "last_administrator"


def require_administrator(by: User) -> None:
    """Raises Forbidden."""
    if not by.is_superuser:
        raise Forbidden("This needs an administrator of the installation.")


def everybody(*, by: User, q: str = "", shut: bool | None = None) -> QuerySet[User]:
    """People, with what an administrator asks about them: `is_guarded` (a second factor) and
    `project_count`. Raises Forbidden."""
    require_administrator(by)
    found = User.objects.filter(is_service=False).annotate(
        is_guarded=Exists(
            Authenticator.objects.filter(user=OuterRef("pk"), type=Authenticator.Type.TOTP)
        ),
        project_count=Count("memberships", filter=Q(memberships__project__archived_at=None)),
    )
    if q:
        words = Q(username__icontains=q) | Q(email__icontains=q)
        found = found.filter(words | Q(first_name__icontains=q) | Q(last_name__icontains=q))
    if shut is not None:
        found = found.filter(is_active=not shut)
    return found.order_by("username")


def find(*, username: str, by: User) -> User:
    """Raises Forbidden and Missing."""
    found = everybody(by=by).filter(username=username).first()
    if found is None:
        raise Missing("There is no such person.")
    return found


def make(*, username: str, email: str = "", by: User) -> tuple[User, str]:
    """A person without a password, and the secret of a link that signs them in once within three
    days. Raises Forbidden and Invalid."""
    require_administrator(by)
    username = username.strip()
    try:
        UnicodeUsernameValidator()(username)
    except ValidationError:
        raise _invalid("username", "Letters, digits and @ . + - _ only.") from None
    if not 2 <= len(username) <= 150 or User.objects.filter(username__iexact=username).exists():
        raise _invalid("username", "Choose another name: this one is taken, or too short.")
    email = accounts.free_address(email)
    try:
        with transaction.atomic():
            user = User.objects.create_user(username, email or None)
            audit.record("person.create", by=by, subject=username)
    except IntegrityError:
        raise _invalid("username", "Somebody else has this name or address.") from None
    return user, accounts.make_sign_in_link(user=user, life=accounts.FIRST_LINK_LIFE)


@transaction.atomic
def deactivate(*, user: User, by: User) -> None:
    """Shut them out at once: their browsers, tokens, sign-in links and open invitations end. What
    they made stays. Raises Forbidden, LastAdministrator and Invalid."""
    _keep_an_administrator(user, by, "shut out")
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.is_active = False
    now = timezone.now()
    sessions.end_all(user=user)
    ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=now)
    SignInLink.objects.filter(user=user, used_at=None).update(used_at=now)
    Invitation.objects.open().filter(created_by=user).update(revoked_at=now)
    assignees.forget(user=user)
    audit.record("person.deactivate", by=by, subject=user.username)


@transaction.atomic
def activate(*, user: User, by: User) -> None:
    """Let them in again: with their password, and new tokens. Raises Forbidden."""
    require_administrator(by)
    User.objects.filter(pk=user.pk).update(is_active=True)
    user.is_active = True
    audit.record("person.activate", by=by, subject=user.username)


@transaction.atomic
def make_administrator(*, user: User, by: User) -> None:
    """Raises Forbidden."""
    require_administrator(by)
    User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
    user.is_superuser = user.is_staff = True
    audit.record("person.make_administrator", by=by, subject=user.username)


@transaction.atomic
def make_ordinary(*, user: User, by: User) -> None:
    """Raises Forbidden, LastAdministrator and Invalid."""
    _keep_an_administrator(user, by, "made an ordinary person")
    User.objects.filter(pk=user.pk).update(is_superuser=False, is_staff=False)
    user.is_superuser = user.is_staff = False
    audit.record("person.make_ordinary", by=by, subject=user.username)


@transaction.atomic
def reset_second_factor(*, user: User, by: User) -> None:
    """For who lost their app and codes. Raises Forbidden."""
    require_administrator(by)
    second_factor.reset(user=user)
    audit.record("person.reset_second_factor", by=by, subject=user.username)


@transaction.atomic
def sign_in_link(*, user: User, by: User) -> str:
    """The secret of a link that signs them in once, within half an hour; their second factor is
    asked for all the same. Raises Forbidden and Invalid."""
    require_administrator(by)
    if not user.is_active:
        raise Invalid("Let this person in again first.", code="shut")
    audit.record("person.sign_in_link", by=by, subject=user.username)
    return accounts.make_sign_in_link(user=user)


def _keep_an_administrator(user: User, by: User, what: str) -> None:
    require_administrator(by)
    if user.pk == by.pk:
        raise Invalid(f"Nobody is {what} by themselves.", code="yourself")
    # All of them are locked, so that two administrators cannot shut each other out.
    administrators = User.objects.select_for_update().filter(is_superuser=True, is_active=True)
    if {one.pk for one in administrators} == {user.pk}:
        raise LastAdministrator("An installation keeps at least one administrator.")


def _invalid(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
