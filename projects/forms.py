"""What people type about themselves and their projects, checked for shape only."""

from datetime import timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone

from projects.models import ApiToken, Project, Role, User
from projects.services import accounts, guesses


class SignInForm(forms.Form):
    username = forms.CharField(
        max_length=150,
        widget=forms.TextInput(
            {"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
        ),
    )
    password = forms.CharField(
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )

    def __init__(self, data: Any = None, *, request: HttpRequest) -> None:
        super().__init__(data)
        self.request = request
        self.user: User | None = None
        self.refused: guesses.TooMany | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if {"username", "password"} <= cleaned.keys():
            user = authenticate(
                self.request, username=cleaned["username"], password=cleaned["password"]
            )
            self.refused = guesses.refused(self.request)
            if self.refused is not None:
                raise forms.ValidationError(self.refused.detail)
            if not isinstance(user, User):
                # One answer for unknown, inactive and mistyped; the hasher ran in every case.
                raise forms.ValidationError("This username and password do not match.")
            guesses.right(self.request, cleaned["username"])
            self.user = user
        return cleaned


class ProfileForm(forms.Form):
    first_name = forms.CharField(
        max_length=150, required=False, widget=forms.TextInput({"autocomplete": "given-name"})
    )
    last_name = forms.CharField(
        max_length=150, required=False, widget=forms.TextInput({"autocomplete": "family-name"})
    )
    email = forms.CharField(
        label="E-mail",
        max_length=254,
        required=False,
        help_text="Others can add you to their projects by this address.",
        widget=forms.EmailInput({"autocomplete": "email"}),
    )
    time_zone = forms.ChoiceField(
        choices=lambda: [(zone, zone.replace("_", " ")) for zone in accounts.time_zones()],
        help_text="Times on pages are shown in it. The API always says UTC.",
    )


class AvatarForm(forms.Form):
    avatar = forms.FileField(
        label="Picture",
        help_text="PNG, JPEG, WebP or GIF; it is cut to a square.",
        widget=forms.ClearableFileInput({"accept": "image/png,image/jpeg,image/webp,image/gif"}),
    )


class PersonForm(forms.Form):
    username = forms.CharField(
        max_length=150, widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none"})
    )
    email = forms.CharField(
        label="E-mail",
        max_length=254,
        required=False,
        widget=forms.EmailInput({"autocomplete": "off"}),
    )


class PasswordForm(forms.Form):
    """A first password for who signed in by a link; afterwards the old one is asked for."""

    old_password = forms.CharField(
        label="Current password",
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )
    password = forms.CharField(
        label="New password",
        max_length=4096,
        strip=False,
        help_text="At least 10 characters; a few unrelated words work well.",
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )
    repeated = forms.CharField(
        label="New password, again",
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )

    def __init__(self, data: Any = None, *, user: User) -> None:
        super().__init__(data)
        self.user = user
        if not user.has_usable_password():
            del self.fields["old_password"]

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        try:
            guesses.take(guesses.PASSWORD, self.user.pk, most=settings.DISTILLHUB_GUESSES)
        except guesses.TooMany as refused:  # by who found a browser that is signed in
            raise forms.ValidationError(refused.detail) from None
        if not self.user.check_password(old):
            raise forms.ValidationError("This is not your current password.")
        guesses.forget(guesses.PASSWORD, self.user.pk)
        return old

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("password") != self.cleaned_data.get("repeated"):
            self.add_error("repeated", "The two are not the same.")
        return self.cleaned_data


class TokenForm(forms.Form):
    LIVES: ClassVar = [("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("never", "Never")]

    name = forms.CharField(
        max_length=100,
        help_text="What will use it, such as a script or a machine.",
        widget=forms.TextInput({"autocomplete": "off", "placeholder": "nightly retraining"}),
    )
    scope = forms.ChoiceField(
        choices=[
            (ApiToken.Scope.WRITE, "Read and write"),
            (ApiToken.Scope.READ, "Read only"),
            (ApiToken.Scope.TRACK, "Track runs that are trained elsewhere"),
            (ApiToken.Scope.INFER, "Ask models, and send live rows"),
        ],
    )
    life = forms.ChoiceField(label="Expires after", choices=LIVES, initial="90")
    project = forms.ModelChoiceField(
        queryset=Project.objects.none(),
        required=False,
        label="Where",
        empty_label="In all of your projects",
        help_text="A token for one project opens nothing else, should it leak.",
    )

    def __init__(self, *args: Any, of: User | None = None, **kwargs: Any) -> None:
        """With `of` for a token of that person, who may bind it to one of their projects."""
        super().__init__(*args, **kwargs)
        if of is None:
            del self.fields["project"]
        else:
            mine = Project.objects.visible_to(of).active()
            cast("forms.ModelChoiceField[Project]", self.fields["project"]).queryset = mine

    def as_arguments(self) -> dict[str, Any]:
        """For `accounts.create_token`."""
        life = self.cleaned_data["life"]
        forever = life == "never"
        expires_at = None if forever else timezone.now() + timedelta(days=int(life))
        return {
            "name": self.cleaned_data["name"],
            "scope": self.cleaned_data["scope"],
            "expires_at": expires_at,
            **({"project": self.cleaned_data["project"]} if "project" in self.fields else {}),
        }


class ProjectForm(forms.Form):
    name = forms.CharField(
        max_length=100, widget=forms.TextInput({"autocomplete": "off", "autofocus": True})
    )
    description = forms.CharField(
        max_length=2000,
        required=False,
        help_text="What the model is for, and where it has to fit.",
        widget=forms.Textarea({"rows": 3}),
    )


class MemberForm(forms.Form):
    email = forms.CharField(
        label="E-mail or username",
        max_length=254,
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none"}),
    )
    role = forms.ChoiceField(choices=[(role.value, role.label) for role in Role])


class InvitationForm(forms.Form):
    email = forms.CharField(
        label="E-mail",
        max_length=254,
        required=False,
        widget=forms.EmailInput({"autocomplete": "off", "id": "invitation-email"}),
    )
    role = forms.ChoiceField(
        choices=[(role.value, role.label) for role in Role],
        widget=forms.Select({"id": "invitation-role"}),
    )


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)
