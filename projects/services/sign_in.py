"""How people get in: by password, link, invitation or single sign-on, and then by their second
factor. The steps are django-allauth's; what is decided here is who may take them.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import EmailAddress, Login
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from distillhub.lib import visitors
from projects.models import SignInLink, User
from projects.services import audit, guesses

OPEN, INVITATION, CLOSED = "open", "invitation", "closed"
#: Of a session: the digest of the invitation that its visitor has opened.
INVITED = "invitation"
UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104 - no address to listen on: who came over a socket file
HOW = {"password": "password", "link": "sign_in_link"}


def has_mail() -> bool:
    """Whether this installation can write to people."""
    return bool(settings.EMAIL_URL)


def has_single_sign_on() -> bool:
    return bool(settings.OIDC_ISSUER)


def may_sign_up(request: HttpRequest) -> bool:
    """Whether this visitor may make an account with a password."""
    if settings.SIGN_UP == OPEN:
        return True
    return settings.SIGN_UP == INVITATION and _is_invited(request)


def ways_in(request: HttpRequest) -> dict[str, object]:
    """For pages that are seen signed out (a context processor); nothing is asked of the database
    before a page needs it."""
    return {
        "has_mail": has_mail(),
        "single_sign_on": settings.OIDC_NAME if has_single_sign_on() else "",
        "may_sign_up": SimpleLazyObject(lambda: may_sign_up(request)),
    }


def enter(
    request: HttpRequest, *, user: User, after: str, how: str, username: str = ""
) -> HttpResponse:
    """Sign in who has proved to be `user`, or ask for what is missing: the second factor, an
    address that is to be confirmed first. `after` is where they wanted to go."""
    told = {"username": username} if username else {}
    record_authentication(request, user, method=HOW[how], **told)
    needed = "mandatory" if _has_to_confirm(user) and how == "password" else "none"
    login = Login(user=user, redirect_url=after, email_verification=needed)
    response: HttpResponse = perform_login(request, login)
    return response


def _has_to_confirm(user: User) -> bool:
    """Who signed up with an address of which nobody knows whether it is theirs. People who were
    here before there was a mail server, or whom an administrator made, have none to confirm."""
    addresses = EmailAddress.objects.filter(user=user, primary=True, verified=False)
    return has_mail() and bool(addresses.exists())


def _is_invited(request: HttpRequest) -> bool:
    from projects.services import invitations  # noqa: PLC0415 - which stands on this module

    return invitations.opened(request) is not None


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]
    """What allauth asks about accounts."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": "There were too many tries. Wait a quarter of an hour.",
        "incorrect_code": "This code is not right, or was used before.",
        "incorrect_password": "This is not your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return may_sign_up(request)

    def new_user(self, request: HttpRequest) -> User:
        """With the database's defaults as values: allauth puts people into the session meanwhile,
        and knows no expressions."""
        return User(avatar="", is_service=False)

    def get_client_ip(self, request: HttpRequest) -> str:
        return visitors.address(request) or UNKNOWN_ADDRESS

    def get_reset_password_from_key_url(self, key: str) -> str:
        uid, _, token = key.partition("-")
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})
        return _whole(path)

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        return _whole(reverse("account_confirm_email", args=[emailconfirmation.key]))

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        user = email_address.user
        before = user.email
        has_row = EmailAddress.objects.filter(user=user).exclude(pk=email_address.pk).exists()
        try:
            with transaction.atomic():
                done = bool(super().confirm_email(request, email_address))
        except IntegrityError:  # somebody got it while it waited
            messages.error(request, f"{email_address.email} belongs to somebody else here.")
            return False
        if done and before and not has_row and before.lower() != email_address.email:
            # allauth tells the one before if it has a row; from before there was one, it has none.
            told = {"from_email": before, "to_email": email_address.email}
            self.send_notification_mail("account/email/email_changed", user, told, email=before)
        return done

    def is_reauthentication_required(self, *, app: str) -> bool:
        """Who has neither password nor second factor has nothing to repeat: they came by a link or
        by single sign-on."""
        user = self.request.user
        has_means = user.has_usable_password() or Authenticator.objects.filter(user=user).exists()
        return has_means and bool(super().is_reauthentication_required(app=app))

    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        made: User = super().save_user(request, user, form, commit)
        if commit:
            audit.record("account.create", by=made, subject=made.username)
        return made

    def set_password(self, user: User, password: str) -> None:
        """A new one by mail: links that were made before sign nobody in any more."""
        super().set_password(user, password)
        SignInLink.objects.filter(user=user, used_at=None).update(used_at=timezone.now())

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        messages.error(request, "This account is shut. An administrator can open it again.")
        return HttpResponseRedirect(reverse("projects:sign_in"))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if has_mail():
            super().send_mail(template_prefix, email, {**context, "site": settings.SITE_URL})

    def post_login(
        self, request: HttpRequest, user: User, *, redirect_url: str | None, **more: Any
    ) -> HttpResponse:
        if request.session.get(INVITED):
            redirect_url = reverse("projects:invitation")
        response: HttpResponse = super().post_login(
            request, user, redirect_url=redirect_url, **more
        )
        guesses.know(response, user)
        return response


class SingleSignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """What allauth asks about people whom an OpenID Connect provider names."""

    error_messages = DefaultSocialAccountAdapter.error_messages | {
        "email_taken": "Somebody here has this address. Sign in with your password first, and "
        "connect %s in your account.",
    }

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Only people with a confirmed address at one of the domains come in, where domains are
        named: also those who came before somebody named them."""
        if settings.OIDC_DOMAINS and not _of_domains(sociallogin):
            raise _sent_back(
                request,
                f"Only addresses at {_listed(settings.OIDC_DOMAINS)} may come in this way.",
            )
        connects = sociallogin.state.get("process") == "connect"  # who is signed in already
        if not connects and not sociallogin.is_existing and _taken_by_unconfirmed(sociallogin):
            raise _sent_back(
                request,
                "Somebody here uses this address and has not confirmed it. Sign in with your "
                "password, and connect the two in your account.",
            )

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """An account is theirs by its address only if both sides have confirmed it: else whoever
        signed up here with somebody else's address would wait for them in their account."""
        for told in sociallogin.email_addresses:
            if not told.verified:
                continue
            kept = EmailAddress.objects.select_related("user").filter(
                email__iexact=told.email, verified=True
            )
            if address := kept.first():
                return address.user, address.email
        return None

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """At the named domains everybody has an account who comes, unless sign-up is closed."""
        if settings.OIDC_DOMAINS and settings.SIGN_UP != CLOSED:
            return _of_domains(sociallogin)
        return may_sign_up(request)

    def on_authentication_error(self, request: HttpRequest, provider: Any, **more: Any) -> None:
        raise _sent_back(request, f"{settings.OIDC_NAME} did not say who you are. Try again.")


def _of_domains(sociallogin: SocialLogin) -> bool:
    return any(
        one.verified and one.email.rpartition("@")[2].lower() in settings.OIDC_DOMAINS
        for one in sociallogin.email_addresses
    )


def _taken_by_unconfirmed(sociallogin: SocialLogin) -> bool:
    return any(
        User.objects.filter(email__iexact=one.email).exists() for one in sociallogin.email_addresses
    )


def _sent_back(request: HttpRequest, sentence: str) -> Exception:
    from allauth.core.exceptions import ImmediateHttpResponse  # noqa: PLC0415

    messages.error(request, sentence)
    sent: Exception = ImmediateHttpResponse(HttpResponseRedirect(reverse("projects:sign_in")))
    return sent


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _whole(path: str) -> str:
    """Not of the request's Host header: who asks for a new password could forge it."""
    return f"{settings.SITE_URL.rstrip('/')}{path}"
