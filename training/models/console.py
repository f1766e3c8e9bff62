"""How far a run's console is read: what its process prints becomes lines exactly once."""

from django.db import models

from training.models.run import Run


class RunConsole(models.Model):
    """Changed in the transaction that stores the lines, so that nothing is read twice."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="console")
    attempt = models.PositiveIntegerField(default=0, help_text="Whose output this is about.")
    offset = models.BigIntegerField(default=0, help_text="Bytes read of the file it prints to.")

    def __str__(self) -> str:
        return f"attempt {self.attempt}, {self.offset} bytes"
