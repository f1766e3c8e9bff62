"""What people type to get in, and to stay safe: django-allauth's forms in our words."""

from typing import Any

from allauth.account import forms as account_forms
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp_forms
from allauth.socialaccount import forms as social_forms
from django import forms
from django.http import HttpRequest

from projects.models import User
from projects.services import audit, guesses, second_factor

PASSWORD_HELP = "At least 10 characters; a few unrelated words work well."  # noqa: S105


def _request() -> HttpRequest:
    """That is answered now; allauth gives it to no form."""
    from allauth.core import context  # noqa: PLC0415 - which is of each request

    request: HttpRequest = context.request
    return request


def _plain(form: forms.Form, labels: dict[str, str], helps: dict[str, str] | None = None) -> None:
    """Our labels, no placeholders that repeat them."""
    for name, field in form.fields.items():
        field.widget.attrs.pop("placeholder", None)
        field.label = labels.get(name, field.label)
        field.help_text = (helps or {}).get(name, "")


class SignUpForm(account_forms.SignupForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = {
            "username": "Username",
            "email": "E-mail",
            "password1": "Password",
            "password2": "Password, again",
        }
        _plain(self, labels, {"password1": PASSWORD_HELP})
        self.fields["username"].widget.attrs["autocapitalize"] = "none"


class SingleSignUpForm(social_forms.SignupForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self, {"username": "Username", "email": "E-mail"})


class ResetForm(account_forms.ResetPasswordForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self, {"email": "E-mail"})


class NewPasswordForm(account_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = {"password1": "New password", "password2": "New password, again"}
        _plain(self, labels, {"password1": PASSWORD_HELP})


class ReauthenticateForm(account_forms.ReauthenticateForm):  # type: ignore[misc]
    user: User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self, {"password": "Your password"})
        self.fields["password"].widget.attrs["autofocus"] = True

    def clean_password(self) -> str:
        request = _request()
        try:
            password: str = super().clean_password()
        except forms.ValidationError:
            if refused := guesses.refused(request):
                raise forms.ValidationError(refused.detail) from None
            raise
        guesses.right(request, self.user.username)
        return password


class _Code:
    """A code of an app or a recovery code: counted before it is judged, and good once."""

    user: User
    authenticator: Any

    def clean_code(self) -> str:
        request = _request()
        second_factor.begin(self.user, request)
        try:
            if not self.user.is_active:  # shut out since the password was right
                raise forms.ValidationError(second_factor.WRONG, code="incorrect_code")
            code: str = super().clean_code()  # type: ignore[misc]
        except forms.ValidationError:
            audit.record("sign_in.code_failed", by=self.user, subject=self.user.username)
            raise
        second_factor.accept(self.user, code, self.authenticator.type, request)
        return code


CODE_LABELS = {"code": "Code"}
CODE_HELP = {"code": "Six digits of your authenticator app, or one of your recovery codes."}


class CodeForm(_Code, mfa_forms.AuthenticateForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self, CODE_LABELS, CODE_HELP)
        self.fields["code"].widget.attrs |= {"inputmode": "numeric", "autofocus": True}


class CodeAgainForm(_Code, mfa_forms.ReauthenticateForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self, CODE_LABELS, CODE_HELP)


class ActivateForm(totp_forms.ActivateTOTPForm):  # type: ignore[misc]
    user: User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self, {"code": "Code that the app shows"})
        self.fields["code"].widget.attrs |= {"inputmode": "numeric", "autofocus": True}

    def clean_code(self) -> str:
        request = _request()
        second_factor.begin(self.user, request)
        code: str = super().clean_code()
        second_factor.accept(self.user, code, Authenticator.Type.TOTP, request)
        return code
