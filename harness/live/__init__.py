"""A run while it goes on: its state, read from the record as it grows, in values and in words."""
