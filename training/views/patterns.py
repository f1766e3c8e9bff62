"""A page of every component, with the line that includes it."""

from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from projects.models import User
from training.charts import confusions, curves
from training.models import Run

STEPS = list(range(0, 500, 20))


class Sample(forms.Form):
    name = forms.CharField(help_text="Letters, digits, dots and hyphens.")
    schedule = forms.ChoiceField(choices=[("cosine", "Cosine"), ("linear", "Linear")])
    control = forms.BooleanField(label="Run a control beside it", required=False)
    notes = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    epochs = forms.IntegerField(max_value=1000)


@require_safe
def patterns(request: HttpRequest) -> HttpResponse:
    form = Sample({"name": "intents-small", "schedule": "cosine", "control": "on", "epochs": 5000})
    form.add_error(None, "Something about the whole form, said where it begins.")
    context = {
        "title": "Patterns",
        "section": "patterns",
        "subtitle": "Every component of the pages, with the line that includes it.",
        "people": [request.user, *(User(username=name, avatar="") for name in ("ada", "grace"))],
        "statuses": [*Run.Status.values, "ready", "ingesting"],
        "form": form,
        "page": Paginator(range(500), 50).get_page(request.GET.get("page", 3)),
        "tabs": [("a", "Overview", "?", None), ("b", "Runs", "?", 12), ("c", "Files", "?", 3)],
        "problems": ["Give it a name.", "Nobody of that name is a member."],
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "terms": [
            {
                "weight": 0.9,
                "label": "soft targets",
                "formula": "T² · KL(softmax(t/T) ‖ softmax(s/T)), T = 4",
            },
            {"weight": 0.1, "label": "hard labels", "formula": "cross-entropy(s, y)"},
        ],
        "loss": curves.losses(_series(), terms=["soft_targets", "hard_labels"]),
        "quality": curves.quality(_series(), teacher=0.902, teacher_name="big"),
        "confusion": confusions.of(["cat", "dog", "owl"], [[41, 3, 1], [5, 38, 2], [0, 1, 44]]),
    }
    return render(request, "training/patterns.html", context)


def _series() -> dict[str, Any]:
    """Curves of the usual shape, for show."""

    def points(start: float, end: float, every: int = 1) -> dict[str, Any]:
        steps = STEPS[::every]
        return {
            "steps": steps,
            "values": [end + (start - end) * 2.718 ** (-step / 90) for step in steps],
        }

    return {
        "train/loss": points(4.1, 0.62),
        "train/soft_targets": points(3.9, 0.5),
        "train/hard_labels": points(4.3, 0.7),
        "val/loss": points(4.0, 0.74, 4),
        "val/accuracy": points(0.05, 0.885, 4),
    }
