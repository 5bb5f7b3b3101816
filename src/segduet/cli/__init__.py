"""Command line: arguments in, one workflow call, exit code out."""
