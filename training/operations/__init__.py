"""Operations on datasets that ask teachers, found by projects/operations/registry.py."""
