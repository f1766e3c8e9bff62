"""What the demo did, in the audit log: by a command of `distillhub up`, in nobody's name."""

from projects.models import Project
from projects.services import audit

BY = "demo (command)"  # no username: those have no blanks


def note(action: str, *, project: Project, subject: str) -> None:
    """In the transaction of what was done, unless that moves files."""
    audit.record(action, by=BY, project=project, subject=subject, via="command")
