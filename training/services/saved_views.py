"""Views of runs that a project keeps by name: an address's question, shared with everybody in it.

What an address asks is checked when it is opened, as ever: a view may outlive the runs and metrics
that it names.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import QueryDict

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from training.models import SavedView

MOST_VIEWS = 200  # of a project
LONGEST = 4000  # characters
#: Parts of an address that say where one is in a list, not what it shows.
PASSING = ("page", "view")


def of_project(project: Project, page: str = "") -> QuerySet[SavedView]:
    views = project.saved_views.select_related("created_by")
    return views.filter(page=page) if page else views


def get(*, project: Project, view_id: int) -> SavedView:
    """Raises Missing."""
    found = of_project(project).filter(pk=view_id).first()
    if found is None:
        raise Missing("There is no such saved view in this project.")
    return found


@transaction.atomic
def create(
    *, project: Project, name: str, query: str, by: User, page: str = SavedView.Page.RUNS
) -> SavedView:
    """Save what an address asks for. Raises Conflict for a name that is taken, and Invalid."""
    asked = QueryDict(query.removeprefix("?")[: LONGEST + 1], mutable=True)
    for passing in PASSING:
        asked.pop(passing, None)
    made = SavedView(
        project=project, page=page, name=name.strip(), query=asked.urlencode(), created_by=by
    )
    if "\x00" in made.name or "%00" in made.query:
        raise Invalid("It holds a NUL character.", fields={"name": ["It holds NUL."]})
    if len(query) > LONGEST:
        sentence = f"An address of more than {LONGEST} characters cannot be saved."
        raise Invalid(sentence, fields={"query": [sentence]})
    try:
        made.full_clean(exclude=["project", "created_by"], validate_constraints=False)
    except ValidationError as error:
        fields = {name: list(said) for name, said in error.message_dict.items()}
        raise Invalid(next(iter(fields.values()))[0], fields=fields) from None
    Project.objects.select_for_update().get(pk=project.pk)  # two at once take turns
    if of_project(project, page).filter(name=made.name).exists():
        raise Conflict(
            f"There is a view {made.name} already. Delete it first, or take another name."
        )
    if of_project(project).count() >= MOST_VIEWS:
        raise Invalid(f"A project has at most {MOST_VIEWS} saved views. Delete one first.")
    made.save(force_insert=True)
    return made


def delete(*, project: Project, view_id: int) -> None:
    """Raises Missing."""
    get(project=project, view_id=view_id).delete()
