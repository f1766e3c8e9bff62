"""Numbers that other libraries gave for the same tensors, and how they were had."""
