"""Signing in and out, and a person's own account."""

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError, Invalid, Missing
from distillhub.lib.http import safe_next
from projects.forms import AvatarForm, PasswordForm, ProfileForm, SignInForm, TokenForm
from projects.models import ApiToken
from projects.permissions import person
from projects.services import accounts, addresses, avatars, sessions
from projects.services import sign_in as ways_in
from projects.views.tokens import my_page

HOME = "training:home"

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@login_not_required
@sensitive_post_parameters("password")
@never_cache
@get_or_post
def sign_in(request: HttpRequest) -> HttpResponse:
    after = safe_next(request, resolve_url(HOME))
    if request.user.is_authenticated:
        return redirect(after)
    form = SignInForm(request.POST or None, request=request)
    if form.is_valid() and form.user is not None:
        username = form.cleaned_data["username"]
        return ways_in.enter(
            request, user=form.user, after=after, how="password", username=username
        )
    response = _sign_in_page(request, form, after, status=429 if form.refused else 200)
    if form.refused:
        response.headers["Retry-After"] = str(form.refused.retry_after)
    return response


@login_not_required
@never_cache
@require_GET  # not HEAD: a link is redeemed by whoever follows it, not by who only looks
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    try:
        user = accounts.redeem_sign_in_link(token=token)
    except accounts.LinkSpent as spent:
        if request.user.is_authenticated:  # the same link, opened a second time
            return redirect(HOME)
        form = SignInForm(request=request)
        return _sign_in_page(request, form, resolve_url(HOME), status=spent.status, spent=spent)
    response = ways_in.enter(request, user=user, after=resolve_url(HOME), how="link")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _sign_in_page(
    request: HttpRequest, form: SignInForm, after: str, *, status: int, **more: object
) -> HttpResponse:
    context = {"form": form, "next": after, "title": "Sign in"}
    return render(request, "projects/sign_in.html", context | more, status=status)


@login_not_required  # signing out twice is no reason to sign in
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("projects:sign_in")


@get_or_post
def account(request: HttpRequest) -> HttpResponse:
    user = person(request)
    known = {name: getattr(user, name) for name in ProfileForm.base_fields}
    form = ProfileForm(request.POST or None, initial=known)
    if form.is_valid():
        try:
            accounts.change_profile(user=user, **form.cleaned_data)
        except DomainError as error:
            form_errors.show(error, form)
        else:
            pending = addresses.waiting(user)
            told = f" Open the link that we sent to {pending}." if pending else ""
            messages.success(request, f"Your account is saved.{told}")
            return redirect("projects:account")
    context = {
        "form": form,
        "avatar_form": AvatarForm(),
        "waiting": addresses.waiting(user),
        "is_confirmed": addresses.is_confirmed(user),
        "title": "Account",
        "section": "account",
        "tab": "account",
    }
    return render(request, "projects/account.html", context)


@require_POST
def avatar_change(request: HttpRequest) -> HttpResponse:
    form = AvatarForm(request.POST, request.FILES)
    try:
        if not form.is_valid():
            raise Invalid("Choose a picture first.")
        avatars.change(user=person(request), file=form.cleaned_data["avatar"])
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, "Your picture is saved.")
    return redirect("projects:account")


@require_POST
def avatar_remove(request: HttpRequest) -> HttpResponse:
    avatars.remove(user=person(request))
    messages.success(request, "Your picture is gone.")
    return redirect("projects:account")


@sensitive_post_parameters("old_password", "password", "repeated")
@get_or_post
# Who has none yet shows their code, if they have one: else a browser that was found is enough.
@reauthentication_required(  # type: ignore[untyped-decorator]
    enabled=lambda request: not request.user.has_usable_password()
)
def change_password(request: HttpRequest) -> HttpResponse:
    user = person(request)
    form = PasswordForm(request.POST or None, user=user)
    if form.is_valid():
        try:
            accounts.change_password(user=user, password=form.cleaned_data["password"])
        except DomainError as error:
            form_errors.show(error, form)
        else:
            update_session_auth_hash(request, user)  # this browser stays; all others are out
            sessions.note(request)
            messages.success(request, "Your password is changed. Other browsers are signed out.")
            return redirect("projects:account")
    context = {
        "form": form,
        "title": "Password",
        "section": "account",
        "tab": "password",
        "subtitle": None if user.has_usable_password() else "You have signed in by a link so far.",
    }
    return render(request, "projects/change_password.html", context)


@never_cache
@require_safe
def sessions_list(request: HttpRequest) -> HttpResponse:
    context = {
        "sessions": sessions.of(person(request), request),
        "title": "Browsers",
        "section": "account",
        "tab": "sessions",
    }
    return render(request, "projects/sessions.html", context)


@require_POST
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    sessions.end(user=person(request), pk=pk)
    messages.success(request, "That browser is signed out.")
    return redirect("projects:sessions")


@require_POST
def sessions_end_others(request: HttpRequest) -> HttpResponse:
    many = sessions.end_others(user=person(request), request=request)
    messages.success(request, f"{many} other browser{'' if many == 1 else 's'} signed out.")
    return redirect("projects:sessions")


@never_cache
@get_or_post
def tokens(request: HttpRequest) -> HttpResponse:
    user = person(request)
    form = TokenForm(request.POST or None, of=user)
    raw = ""
    if form.is_valid():
        try:
            _, raw = accounts.create_token(user=user, **form.as_arguments())
        except DomainError as error:
            form_errors.show(error, form)
        else:
            form = TokenForm(of=user)
    # The new token is in this answer only: kept for a redirect it would be stored somewhere.
    return my_page(request, form, raw)


@require_POST
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    user = person(request)
    token = ApiToken.objects.filter(user=user, pk=pk).first()
    if token is None:
        raise Missing("There is no such token.")
    accounts.revoke_token(token=token, by=user)
    messages.success(request, f"The token “{token.name}” is revoked.")
    return redirect("projects:tokens")
