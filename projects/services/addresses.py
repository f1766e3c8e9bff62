"""E-mail addresses of people, and whether they have confirmed them (django-allauth's)."""

from allauth.account.models import EmailAddress
from allauth.core import context
from django.db import IntegrityError, transaction

from distillhub.lib.errors import Invalid
from projects.models import User
from projects.services import guesses, sign_in

MOST_MAILS = 20  # that a person has us send to new addresses, within the time guesses are counted


def waiting(user: User) -> str:
    """The address that is to be confirmed, or nothing."""
    found = EmailAddress.objects.filter(user=user, verified=False).order_by("pk").last()
    return found.email if found is not None and found.email != user.email else ""


def is_confirmed(user: User) -> bool:
    found = EmailAddress.objects.filter(user=user, email=user.email, verified=True)
    return bool(found.exists())


def change(*, user: User, email: str) -> None:
    """Give the person another address, or none. Where we can write to it, the one before stays
    until the new one is confirmed. Raises Invalid."""
    if email and sign_in.has_mail():
        guesses.take("mail", user.pk, most=MOST_MAILS)
        EmailAddress.objects.add_new_email(context.request, user, email)
        return
    try:
        with transaction.atomic():
            EmailAddress.objects.filter(user=user).delete()
            User.objects.filter(pk=user.pk).update(email=email)
            if email:
                EmailAddress.objects.create(user=user, email=email.lower(), primary=True)
    except IntegrityError:  # taken by somebody else since we looked
        sentence = "Somebody else uses this address."
        raise Invalid(sentence, fields={"email": [sentence]}) from None
    user.email = email
