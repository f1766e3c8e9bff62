"""The stored keys of APIs as a whole: are they readable here, and sealing them anew."""

from distillhub.lib import secrets
from projects.models import ApiKey


def unreadable() -> list[ApiKey]:
    """Those that this machine cannot open. Raises secrets.BadKeys."""
    found = []
    for kept in ApiKey.objects.select_related("model__project").order_by("pk"):
        try:
            secrets.unseal(kept.sealed)
        except secrets.Unreadable:
            found.append(kept)
    return found


def seal_again() -> tuple[int, list[ApiKey]]:
    """Seal every key with the newest secret; how many were, and those that cannot be opened. One
    that is replaced at the same moment stays as it then is. Raises secrets.BadKeys."""
    done, lost = 0, []
    for kept in ApiKey.objects.select_related("model__project").order_by("pk"):
        try:
            sealed = secrets.seal_again(kept.sealed)
        except secrets.Unreadable:
            lost.append(kept)
            continue
        done += ApiKey.objects.filter(pk=kept.pk, sealed=kept.sealed).update(sealed=sealed)
    return done, lost
