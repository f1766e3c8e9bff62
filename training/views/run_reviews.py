"""A review of rows that are chosen by what a run answered."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError
from projects import permissions
from projects.ingest.formats import UNLABELLED
from projects.models import ReviewQueue, Role, User
from projects.models.review import MOST_REVIEWS
from projects.permissions import person
from projects.services import review_rows, reviews
from projects.views.reviews import AssigneesField, OnlyAssigneesField, begun
from training.models import Run
from training.services import run_reviews, runs

get_or_post = require_http_methods(["GET", "HEAD", "POST"])
KINDS = [
    (ReviewQueue.Kind.LABELS, "Accept or correct labels"),
    (ReviewQueue.Kind.RATINGS, "Rate rows from 1 to 5"),
]


class RunReviewForm(forms.Form):
    how = forms.ChoiceField(label="Which rows", choices=list(review_rows.OF_A_RUN.items()))
    kind = forms.ChoiceField(label="What is asked", choices=KINDS)
    name = forms.CharField(max_length=100, required=False)
    many = forms.IntegerField(
        label="At most", min_value=1, max_value=reviews.MOST_ROWS, initial=100, help_text="Rows."
    )
    reviews_per_row = forms.IntegerField(
        label="Reviews of each row",
        min_value=1,
        max_value=MOST_REVIEWS,
        initial=1,
        help_text="By different people. Two or more tell how far they agree.",
    )
    blind = forms.BooleanField(
        label="Show neither the present label nor the answers", required=False
    )

    def __init__(self, run: Run, you: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["assignees"] = AssigneesField(run.project, you)
        self.fields["only_assignees"] = OnlyAssigneesField()
        if run.task in UNLABELLED:
            del self.fields["kind"]


@get_or_post
def run_review(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    run = runs.find(project=project, number=number)
    form = RunReviewForm(run, person(request), request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = run_reviews.create(run=run, **form.cleaned_data, by=person(request))
        except DomainError as error:
            form_errors.show(error, form)
        else:
            return redirect(begun(made, person(request)))
    address = reverse("training:run_detail", args=[project.slug, run.number])
    context = {
        "title": "Review rows",
        "section": "runs",
        "project": project,
        "crumbs": [
            ("Runs", reverse("training:run_list", args=[project.slug])),
            (f"#{run.number}", address),
        ],
        "run": run,
        "form": form,
    }
    status = 400 if request.method == "POST" else 200
    return render(request, "training/run_review.html", context, status=status)
