"""`predict`, `evaluate`, `package`: from images to answers a person can judge."""

import typer

from segduet.cli.evaluating import evaluate
from segduet.cli.packaging import package
from segduet.cli.predicting import predict


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(predict)
    app.command()(evaluate)
    app.command()(package)
