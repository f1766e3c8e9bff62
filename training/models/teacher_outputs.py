"""Stored teacher answers, as each machine last told. The folders are the truth; these rows are for
people to see, and to ask that one goes."""

from typing import ClassVar

from django.db import models


class TeacherOutputs(models.Model):
    """One entry of the store of one machine: what a teacher said of a split."""

    home = models.CharField(max_length=36, help_text="Id of the machine's home folder.")
    host = models.CharField(max_length=200)
    key = models.CharField(max_length=64, help_text="sha256 of what was asked.")
    kind = models.CharField(max_length=20, help_text="logits, hidden_states, top_k or text")
    split = models.CharField(max_length=20)
    fingerprint = models.CharField(max_length=64, db_index=True, help_text="Of the dataset.")
    teacher = models.CharField(max_length=64, help_text="sha256 of its files.")
    teacher_name = models.CharField(max_length=200, blank=True)
    rows = models.BigIntegerField()
    bytes = models.BigIntegerField()
    covered_mass = models.FloatField(default=1.0, help_text="Probability kept word by word.")
    reused = models.PositiveIntegerField(default=0, help_text="Times it was found, not asked for.")
    made_at = models.DateTimeField()
    last_used = models.DateTimeField()
    unwanted = models.BooleanField(default=False, help_text="To be freed once nobody uses it.")

    class Meta:
        ordering: ClassVar = ["-last_used", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["home", "key"], name="teacher_outputs_once")
        ]

    def __str__(self) -> str:
        return f"{self.teacher_name} on {self.split} rows, {self.kind}"
