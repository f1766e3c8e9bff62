"""django-allauth's views of ways in, held to what each answers. Their pages are ours
(templates/account, templates/mfa, templates/socialaccount)."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from allauth.socialaccount import views as social
from allauth.socialaccount.providers.openid_connect import views as openid
from django.contrib.auth.decorators import login_not_required, login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from projects.permissions import person
from projects.services import guesses, sign_in
from projects.services import second_factor as factors

View = Callable[..., HttpResponseBase]


def _reads(view: View) -> View:
    return never_cache(require_http_methods(["GET", "HEAD"])(view))


def _asks(view: View) -> View:
    guarded = sensitive_post_parameters()(view)
    return never_cache(require_http_methods(["GET", "HEAD", "POST"])(guarded))


def _by_mail(view: View) -> View:
    """Of an installation that can write to people."""

    @wraps(view)
    def only(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not sign_in.has_mail():
            raise Http404
        return view(request, *args, **kwargs)

    return only


sign_up = login_not_required(_asks(account.signup))
confirmation_sent = login_not_required(_reads(_by_mail(account.email_verification_sent)))
confirm_email = login_not_required(_asks(_by_mail(account.confirm_email)))
forgotten = login_not_required(_asks(_by_mail(account.password_reset)))
forgotten_sent = login_not_required(_reads(_by_mail(account.password_reset_done)))
new_password = login_not_required(_asks(_by_mail(account.password_reset_from_key)))
new_password_done = login_not_required(_reads(_by_mail(account.password_reset_from_key_done)))

confirm_password = login_required(_asks(account.reauthenticate))
confirm_code = login_required(_asks(mfa.reauthenticate))

code = login_not_required(_asks(mfa.authenticate))
second_factor = _reads(mfa.index)


@_asks
def activate(request: HttpRequest) -> HttpResponseBase:
    """The browser that set it up has passed it; one in which it was on already shows nothing."""
    user = person(request)
    was_on = factors.is_on(user)
    response: HttpResponse = totp.activate_totp(request)
    if not was_on and factors.is_on(user):
        guesses.know(response, user)
    return response


deactivate = _asks(totp.deactivate_totp)
recovery_codes = _reads(recovery.view_recovery_codes)
new_recovery_codes = _asks(recovery.generate_recovery_codes)
recovery_codes_file = _reads(recovery.download_recovery_codes)


@login_not_required
@never_cache
@require_http_methods(["POST"])
def single_sign_on(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """To the provider by a page and not by a redirect: what a form leads to stays on this host by
    our content security policy, and providers send people on to yet others."""
    _known(provider_id)
    response: HttpResponseBase = openid.login(request, provider_id)
    away = response.headers.get("Location", "")
    if urlsplit(away).netloc:
        return render(request, "socialaccount/leaving.html", {"to": away})
    return response


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD"])
def single_sign_on_back(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    _known(provider_id)
    response: HttpResponseBase = openid.callback(request, provider_id)
    return response


def _known(provider_id: str) -> None:
    if not sign_in.has_single_sign_on() or provider_id != "oidc":
        raise Http404


single_sign_up = login_not_required(_asks(social.signup))
connections = _asks(social.connections)
