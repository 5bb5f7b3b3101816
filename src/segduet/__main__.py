"""`python -m segduet` is the `segduet` command."""

from segduet.cli.main import main

main()
