"""Django system checks for unsafe or broken settings: `distillhub.E…` stop the start, `W…` warn.

`manage.py check --deploy` runs them all; so do `distillhub doctor` and every start.
"""
