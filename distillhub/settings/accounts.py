"""People: how they sign up and in, and how wrong guesses are counted."""

from distillhub.lib import env
from distillhub.settings.mail import EMAIL_URL

AUTH_USER_MODEL = "projects.User"
LOGIN_URL = "projects:sign_in"
LOGIN_REDIRECT_URL = "training:home"
LOGOUT_REDIRECT_URL = "projects:sign_in"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# The flows are django-allauth's, the pages ours, and guesses are counted before they are tried, by
# django-axes' rules and a handler of our own (docs/decisions/0034-accounts.md).
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "projects.services.guesses.Handler"
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_VERBOSE = False
# Our pages and REST say themselves what is locked, and for how long: no middleware of its own.
SILENCED_SYSTEM_CHECKS = ["axes.W002"]
# How many wrong passwords or codes lock a person, and how many of one address (an office) are
# answered, within so many minutes.
DISTILLHUB_GUESSES = env.integer("DISTILLHUB_GUESSES", 10)
DISTILLHUB_GUESSES_OF_ADDRESS = env.integer("DISTILLHUB_GUESSES_OF_ADDRESS", 200)
DISTILLHUB_GUESS_MINUTES = env.integer("DISTILLHUB_GUESS_MINUTES", 15)
# Whose addresses are believed: that which the last proxies of so many in front of us wrote down.
PROXY_COUNT = env.integer("PROXY_COUNT", 1)

# Who may make an account: everybody, whoever is invited, or nobody.
SIGN_UP = env.one_of("SIGN_UP", ["open", "invitation", "closed"], "invitation")
INVITATION_DAYS = env.integer("INVITATION_DAYS", 7)
# Single sign-on by OpenID Connect.
OIDC_ISSUER = env.text("OIDC_ISSUER").rstrip("/")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
OIDC_DOMAINS = [name.lower() for name in env.words("OIDC_DOMAINS")]
if OIDC_ISSUER and not OIDC_CLIENT_ID:
    raise env.BadSetting("OIDC_ISSUER needs OIDC_CLIENT_ID: how the provider knows us.")

_email_set = bool(EMAIL_URL)
ACCOUNT_ADAPTER = "projects.services.sign_in.Adapter"
ACCOUNT_FORMS = {
    "signup": "projects.account_forms.SignUpForm",
    "reset_password": "projects.account_forms.ResetForm",
    "reset_password_from_key": "projects.account_forms.NewPasswordForm",
    "reauthenticate": "projects.account_forms.ReauthenticateForm",
}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if _email_set else "none"
ACCOUNT_CHANGE_EMAIL = True  # the old address stays until the new one is confirmed
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # nobody makes us write to strangers
ACCOUNT_EMAIL_NOTIFICATIONS = _email_set
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # in the browser that signed up
ACCOUNT_USERNAME_MIN_LENGTH = 2
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # before another way in is connected
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60  # seconds
# Guesses are counted by us, over all processes; these are of this process alone.
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": None, "reauthenticate": None}
SOCIALACCOUNT_ADAPTER = "projects.services.sign_in.SingleSignOnAdapter"
SOCIALACCOUNT_FORMS = {"signup": "projects.account_forms.SingleSignUpForm"}
SOCIALACCOUNT_ONLY = False
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True  # by an address that is confirmed on both sides
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10  # seconds
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
SOCIALACCOUNT_PROVIDERS: dict[str, object] = {}
if OIDC_ISSUER:
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER},
            }
        ],
    }
MFA_ADAPTER = "projects.services.second_factor.Adapter"
MFA_FORMS = {
    "authenticate": "projects.account_forms.CodeForm",
    "reauthenticate": "projects.account_forms.CodeAgainForm",
    "activate_totp": "projects.account_forms.ActivateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "DistillHub"
MFA_TOTP_TOLERANCE = 1  # codes of the 30 seconds before and after are good, too
MFA_ALLOW_UNVERIFIED_EMAIL = not _email_set
