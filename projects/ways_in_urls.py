"""Addresses that django-allauth looks up by names of its own, without a namespace."""

from django.urls import URLPattern, path

from projects.views import accounts, ways_in

urlpatterns: list[URLPattern] = [
    path("sign-in/", accounts.sign_in, name="account_login"),
    path("sign-in/code/", ways_in.code, name="mfa_authenticate"),
    path("sign-up/", ways_in.sign_up, name="account_signup"),
    path("sign-up/confirm/", ways_in.confirmation_sent, name="account_email_verification_sent"),
    path("sign-up/confirm/<str:key>/", ways_in.confirm_email, name="account_confirm_email"),
    path("forgotten/", ways_in.forgotten, name="account_reset_password"),
    path("forgotten/sent/", ways_in.forgotten_sent, name="account_reset_password_done"),
    path(
        "forgotten/done/",
        ways_in.new_password_done,
        name="account_reset_password_from_key_done",
    ),
    path(
        "forgotten/<slug:uidb36>/<slug:key>/",
        ways_in.new_password,
        name="account_reset_password_from_key",
    ),
    path("account/confirm/", ways_in.confirm_password, name="account_reauthenticate"),
    path("account/confirm/code/", ways_in.confirm_code, name="mfa_reauthenticate"),
    path("account/second-factor/", ways_in.second_factor, name="mfa_index"),
    path("account/second-factor/on/", ways_in.activate, name="mfa_activate_totp"),
    path("account/second-factor/off/", ways_in.deactivate, name="mfa_deactivate_totp"),
    path(
        "account/second-factor/recovery-codes/",
        ways_in.recovery_codes,
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/second-factor/recovery-codes/new/",
        ways_in.new_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
    path(
        "account/second-factor/recovery-codes/file/",
        ways_in.recovery_codes_file,
        name="mfa_download_recovery_codes",
    ),
    path("account/connections/", ways_in.connections, name="socialaccount_connections"),
    path("sign-in/with/new/", ways_in.single_sign_up, name="socialaccount_signup"),
    path("sign-in/with/<slug:provider_id>/", ways_in.single_sign_on, name="openid_connect_login"),
    path(
        "sign-in/with/<slug:provider_id>/back/",
        ways_in.single_sign_on_back,
        name="openid_connect_callback",
    ),
]
