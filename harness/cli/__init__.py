"""The `headroom` command: one thin module per subcommand, no logic of its own."""

from mwaa_headroom.harness.cli.main import main

__all__ = ["main"]
