"""Between an expected failure and the form in which it happened."""

from django.forms import BaseForm

from distillhub.lib.errors import DomainError


def show(error: DomainError, form: BaseForm) -> None:
    """Put each sentence at its field; what belongs to no field of this form stands above it."""
    elsewhere = [error.detail] if not error.fields else []
    for name, sentences in error.fields.items():
        if name in form.fields:
            form.add_error(name, list(sentences))
        else:
            elsewhere += sentences
    for sentence in elsewhere:
        form.add_error(None, sentence)
