"""Scores and run records, made readable: one HTML page, plain text, the submission archive."""
