"""Everybody on this installation, for its administrators; and pictures of people, for all."""

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib import downloads
from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError
from projects.forms import PersonForm
from projects.models import User
from projects.permissions import person
from projects.services import avatars, people

SHOWN = 50
Act = Callable[..., None]


@require_http_methods(["GET", "HEAD", "POST"])
def people_list(request: HttpRequest) -> HttpResponse:
    me = person(request)
    people.require_administrator(me)
    form = PersonForm(request.POST or None)
    if form.is_valid():
        try:
            made, secret = people.make(**form.cleaned_data, by=me)
        except DomainError as error:
            form_errors.show(error, form)
        else:
            return _link_page(request, made, secret)
    q = request.GET.get("q", "")[:100]
    found = people.everybody(by=me, q=q)
    page = Paginator(found, SHOWN).get_page(request.GET.get("page"))
    context = {
        "people": page,
        "page": page,
        "q": q,
        "form": form,
        "sign_up": settings.SIGN_UP,
        "title": "People",
        "section": "people",
        "subtitle": "Everybody who can sign in here.",
    }
    return render(request, "projects/people.html", context)


@require_POST
def person_deactivate(request: HttpRequest, username: str) -> HttpResponse:
    return _done(request, username, people.deactivate, "{} is shut out.")


@require_POST
def person_activate(request: HttpRequest, username: str) -> HttpResponse:
    return _done(request, username, people.activate, "{} may sign in again.")


@require_POST
def person_make_administrator(request: HttpRequest, username: str) -> HttpResponse:
    return _done(request, username, people.make_administrator, "{} is an administrator now.")


@require_POST
def person_make_ordinary(request: HttpRequest, username: str) -> HttpResponse:
    return _done(request, username, people.make_ordinary, "{} is no administrator any more.")


@require_POST
def person_reset_second_factor(request: HttpRequest, username: str) -> HttpResponse:
    return _done(request, username, people.reset_second_factor, "{} has no second factor now.")


@require_POST
def person_link(request: HttpRequest, username: str) -> HttpResponse:
    me = person(request)
    user = people.find(username=username, by=me)
    return _link_page(request, user, people.sign_in_link(user=user, by=me))


@require_safe
def avatar(request: HttpRequest, username: str) -> HttpResponse:
    """Named with its sha256 on pages (?v=), so that a changed picture is another address."""
    png, _ = avatars.png(username=username)
    return downloads.picture(png)


def _done(request: HttpRequest, username: str, act: Act, sentence: str) -> HttpResponse:
    me = person(request)
    user = people.find(username=username, by=me)
    try:
        act(user=user, by=me)
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, sentence.format(user.display_name))
    return redirect("projects:people")


def _link_page(request: HttpRequest, user: User, secret: str) -> HttpResponse:
    """The link is in this answer only."""
    link = f"{settings.SITE_URL.rstrip('/')}{reverse('projects:sign_in_link', args=[secret])}"
    context = {"person": user, "link": link, "title": "Sign-in link", "section": "people"}
    response = render(request, "projects/person_link.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response
