from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "What happens to it"
    operations = "training.operations"  # on datasets, found by projects/operations/registry.py
    trials = "training.services.sweeps"  # of sweeps, launched by training/worker/sweeps.py
    likeness = "training.services.likeness"  # of rows, asked by projects/services/likeness.py
    subjects = "training.services.subjects"  # of comments, asked by projects/services/subjects.py
