"""What people do to the rows of a dataset: a ready version in, the next version out.

One file is one operation (docs/extending.md). What it needs to be told stands in its `Options`,
once: REST validates with them, OpenAPI and the pages show them.
"""
