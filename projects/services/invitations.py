"""Links that let people into a project, with or without an account of their own yet."""

from datetime import timedelta
from urllib.parse import urljoin

from django.conf import settings
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from distillhub.lib import tokens
from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Invitation, Membership, Project, Role, User
from projects.services import events, guesses, projects, sign_in

MOST_OPEN = 100  # of a project
MOST_MAILS = 100  # of a person, within the time that guesses are counted


class InvitationSpent(Missing):
    """It was accepted, taken back or too old, or never was."""

    code = "invitation_spent"


class AlreadyMember(Conflict):
    code = "already_member"


def waiting(project: Project) -> QuerySet[Invitation]:
    """Those that can still be accepted, newest first."""
    return project.invitations.open().select_related("created_by")


def invite(
    *, project: Project, role: str, email: str = "", by: User
) -> tuple[Invitation, str | None]:
    """An invitation of whoever has its link, or of whoever reads the mail of `email`, to whom it
    is sent where this installation can. The link, if it was not sent: it is shown this once.

    Raises Invalid (address, role, too many) and AlreadyMember.
    """
    if role not in Role.values:
        raise _invalid("role", "The role is viewer, editor or owner.")
    email = email.strip().lower()
    if email:
        _check_address(project, email)
    if project.invitations.open().count() >= MOST_OPEN:
        raise Invalid(f"{MOST_OPEN} invitations are open; take some back.", code="too_many")
    secret = tokens.make()
    with transaction.atomic():
        row = Invitation.objects.create(
            project=project,
            role=role,
            email=email,
            digest=tokens.digest(secret),
            created_by=by,
            expires_at=timezone.now() + timedelta(days=settings.INVITATION_DAYS),
        )
    return row, _send(row, secret, by)


def renew(*, invitation: Invitation, by: User, by_mail: bool = True) -> str | None:
    """A new link, sent or, with `by_mail` false or where no mail can be sent, told; the one before
    opens nothing any more. Raises InvitationSpent."""
    secret = tokens.make()
    changed = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(
        digest=tokens.digest(secret),
        expires_at=timezone.now() + timedelta(days=settings.INVITATION_DAYS),
        emailed_at=None,
    )
    if not changed:
        raise _spent()
    invitation.refresh_from_db()
    return _send(invitation, secret, by) if by_mail else link(secret)


def revoke(*, invitation: Invitation, by: User) -> None:
    """From now on its link opens nothing."""
    now = timezone.now()
    Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(revoked_at=now)


def find(token: str) -> Invitation:
    """What a link invites to. Raises InvitationSpent."""
    return _open(tokens.digest(token))


def open_in(request: HttpRequest, invitation: Invitation) -> None:
    """Remember in this browser, until somebody has signed in or up, which one was opened."""
    request.session[sign_in.INVITED] = invitation.digest
    if invitation.email and invitation.emailed_at:
        # Whoever has the link reads that mail: it was sent there and shown to nobody.
        request.session["account_verified_email"] = invitation.email


def opened(request: HttpRequest) -> Invitation | None:
    """The one that was opened in this browser, if it still stands."""
    digest = request.session.get(sign_in.INVITED, "")
    try:
        return _open(digest) if digest else None
    except InvitationSpent:
        return None


def close_in(request: HttpRequest) -> None:
    request.session.pop(sign_in.INVITED, None)
    request.session.pop("account_verified_email", None)


@transaction.atomic
def accept(*, digest: str, by: User) -> Membership:
    """Become a member. Of two who accept one invitation at once exactly one does.

    Raises InvitationSpent, and AlreadyMember (then it stays open for somebody else).
    """
    invitation = _open(digest)
    if Membership.objects.filter(project=invitation.project, user=by).exists():
        raise AlreadyMember(f"You are a member of {invitation.project.name} already.")
    taken = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    if not taken.update(accepted_at=timezone.now(), accepted_by=by):
        raise _spent()
    membership = Membership.objects.create(
        project=invitation.project, user=by, role=invitation.role
    )
    inviter = invitation.created_by
    projects.tell_of_member(
        membership, "added", f"Invited by {inviter.display_name} as {invitation.role}.", by=by
    )
    events.tell(
        project=invitation.project,
        kind="invitation.accepted",
        subject_kind="member",
        subject=by.username,
        title=by.display_name,
        sentence=f"{by.display_name} accepted the invitation of {inviter.display_name}.",
        by=by,
        data={"username": by.username, "role": str(invitation.role)},
    )
    return membership


def link(secret: str) -> str:
    path = reverse("projects:invitation_link", args=[secret])
    return urljoin(settings.SITE_URL, path)


def _open(digest: str) -> Invitation:
    """Owners invite: what somebody sent who is none any more invites nobody."""
    found = (
        Invitation.objects.open()
        .select_related("project", "created_by")
        .filter(
            digest=digest,
            project__archived_at=None,
            created_by__is_active=True,
            created_by__memberships__role=Role.OWNER,
        )
    )
    for invitation in found:
        owners = invitation.project.memberships.filter(role=Role.OWNER)
        if owners.filter(user=invitation.created_by).exists():
            return invitation
    raise _spent()


def _send(invitation: Invitation, secret: str, by: User) -> str | None:
    """By mail, if that can be; else the link for its maker to pass on."""
    if not invitation.email or not sign_in.has_mail():
        return link(secret)
    guesses.take("mail", by.pk, most=MOST_MAILS)
    # Names are people's own, and begin no line of a letter's head or text.
    inviter, project = (" ".join(one.split()) for one in (by.display_name, invitation.project.name))
    lines = [
        f"{inviter} invites you to the project {project} on DistillHub, as {invitation.role}.",
        "",
        link(secret),
        "",
        f"The link works once, until {invitation.expires_at:%-d %B %Y}. "
        "If you do not know what this is about, do nothing.",
    ]
    letter = mail.EmailMessage(
        subject=f"{inviter} invites you to {project}"[:200],
        body="\n".join(lines),
        to=[invitation.email],
        headers={"Auto-Submitted": "auto-generated"},
    )
    try:
        letter.send()
    except OSError:  # smtplib's are, too
        return link(secret)
    invitation.emailed_at = timezone.now()
    invitation.save(update_fields=["emailed_at"])
    return None


def _check_address(project: Project, email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise _invalid("email", "This is not an e-mail address.") from None
    if project.memberships.filter(user__email__iexact=email).exists():
        raise AlreadyMember(
            "Somebody with this address is a member already.",
            fields={"email": ["Somebody with this address is a member already."]},
        )


def _spent() -> InvitationSpent:
    return InvitationSpent("This invitation was used, taken back or is too old. Ask for a new one.")


def _invalid(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
