"""What tokens may do, tokens that are a project's own, and the change from one to the next."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import ApiToken, Membership, Project, Role, User
from projects.services import accounts

#: What each scope is for, in words.
SCOPES: dict[str, str] = {
    ApiToken.Scope.READ: "read",
    ApiToken.Scope.WRITE: "read and write",
    ApiToken.Scope.TRACK: "track runs that are trained elsewhere",
    ApiToken.Scope.INFER: "ask models, and send live rows",
}
#: What the narrower scopes are good for: methods by the name of the address.
_TRACK, _INFER = {ApiToken.Scope.TRACK}, {ApiToken.Scope.INFER}
OPEN_TO: dict[tuple[str, str], set[ApiToken.Scope]] = {
    ("GET", "api_me"): _TRACK | _INFER,
    ("GET", "api_project"): _TRACK | _INFER,
    ("POST", "api_run_track"): _TRACK,
    ("POST", "api_run_end"): _TRACK,
    ("GET", "api_run"): _TRACK,
    ("PATCH", "api_run"): _TRACK,
    ("GET", "api_run_metrics"): _TRACK,
    ("POST", "api_run_metrics"): _TRACK,
    ("GET", "api_run_logs"): _TRACK,
    ("POST", "api_run_logs"): _TRACK,
    ("POST", "api_version_predict"): _INFER,
    ("POST", "api_model_predict"): _INFER,
    ("POST", "api_run_predict"): _INFER,
    ("POST", "api_inferences"): _INFER,
    ("POST", "api_inference_labels"): _INFER,
    ("POST", "api_inference_answers"): _INFER,
    ("POST", "api_completions"): _INFER,
    ("POST", "api_feedback_list"): _INFER,
}
#: Of MLflow's protocol what a training does, by methods; the registry is for tokens that may write.
_MLFLOW = {
    "GET": (
        *("experiment_get", "experiment_get_by_name", "experiment_search", "run_get"),
        *("metric_history", "artifact_list", "logged_model", "logged_model_files"),
        *("files", "file"),
    ),
    "POST": (
        *("experiment_create", "experiment_search", "experiment_tag", "run_create", "run_update"),
        *("run_search", "run_log_metric", "run_log_parameter", "run_log_batch", "run_log_inputs"),
        *("run_outputs", "run_tag", "run_untag", "logged_model_create", "logged_model_search"),
        "logged_model_params",
    ),
    "PUT": ("file",),
    "PATCH": ("logged_model", "logged_model_tag"),
}
for _method, _names in _MLFLOW.items():
    OPEN_TO |= {(_method, f"mlflow:{name}"): _TRACK for name in _names}

#: Addresses outside of projects that a token of one project opens all the same: they tell nothing
#: of other projects.
OF_NO_PROJECT = frozenset(
    {
        *("api_me", "api_methods", "api_recipes", "api_recipe_translate"),
        *("api_uploads", "api_upload"),
    }
)
#: How long a token stays good beside its successor.
GRACE = timedelta(hours=24)
LONGEST_GRACE = timedelta(days=7)


class Replaced(Conflict):
    """It has a successor already."""

    code = "replaced"


def allows(token: ApiToken, *, reads: bool, open_to: Collection[str] = ()) -> bool:
    """Whether its scope covers a request that `reads` and changes nothing, or one that is `open_to`
    narrower scopes, too."""
    if token.scope == ApiToken.Scope.WRITE:
        return True
    return (reads and token.scope == ApiToken.Scope.READ) or token.scope in open_to


def opens(token: ApiToken, project_slug: str) -> bool:
    """Whether it is for this project, too."""
    return token.project_id is None or token.project.slug == project_slug  # type: ignore[union-attr]


def of_project(*, project: Project) -> QuerySet[ApiToken]:
    """The project's own, newest first."""
    tokens = ApiToken.objects.usable().filter(project=project, user__is_service=True)
    return tokens.select_related("user", "project", "created_by")


def find(*, project: Project, pk: int) -> ApiToken:
    """One of the project's own. Raises Missing."""
    token = of_project(project=project).filter(pk=pk).first()
    if token is None:
        raise Missing("There is no such token.")
    return token


def create_for_project(
    *,
    project: Project,
    name: str,
    scope: str = ApiToken.Scope.WRITE,
    expires_at: datetime | None = None,
    made_with: ApiToken | None = None,
    by: User,
) -> tuple[ApiToken, str]:
    """A token that is no person's, and stays when people leave: an editor of this project alone,
    narrowed by its scope. Raises Invalid."""
    return accounts.create_token(
        user=service_of(project),
        name=name,
        scope=scope,
        expires_at=expires_at,
        made_with=made_with,
        project=project,
        created_by=by,
    )


def revoke(*, token: ApiToken) -> None:
    """From now on it opens nothing."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())


@transaction.atomic
def rotate(
    *, token: ApiToken, grace: timedelta = GRACE, made_with: ApiToken | None = None, by: User
) -> tuple[ApiToken, str]:
    """A successor with the same name, scope, project and length of life. The old one stays good
    for `grace`, in which programs are given the new one. Raises Invalid and Replaced."""
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise Invalid("At most 7 days.", fields={"grace_hours": ["Choose 0 to 168 hours."]})
    now = timezone.now()
    life = token.expires_at - token.created_at if token.expires_at is not None else None
    ends = min(token.expires_at or now + grace, now + grace)
    if not ApiToken.objects.filter(pk=token.pk, rotated_at=None, revoked_at=None).update(
        rotated_at=now, expires_at=ends, revoked_at=None if grace else now
    ):
        raise Replaced("This token has a successor already, or is revoked.")
    return accounts.create_token(
        user=token.user,
        name=token.name,
        scope=token.scope,
        expires_at=now + life if life is not None else None,
        made_with=made_with,
        project=token.project,
        created_by=by,
    )


def service_of(project: Project) -> User:
    """Whom the project's own tokens act as: an editor of it, who never signs in."""
    found = User.objects.filter(is_service=True, memberships__project=project).first()
    for attempt in range(1, 100):
        if found is not None:
            return found
        name = f"{project.slug}.tokens" if attempt == 1 else f"{project.slug}.tokens-{attempt}"
        try:
            with transaction.atomic():
                # Two who make the first token at once: the second finds what the first has made.
                Project.objects.select_for_update().get(pk=project.pk)
                found = User.objects.filter(is_service=True, memberships__project=project).first()
                if found is None:
                    made = User(username=name, first_name=f"{project.name} (token)"[:150])
                    made.is_service = True
                    made.set_unusable_password()
                    made.save()
                    Membership.objects.create(project=project, user=made, role=Role.EDITOR)
                    found = made
        except IntegrityError:  # somebody is called so
            continue
    assert found is not None
    return found
