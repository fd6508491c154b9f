"""`headroom completion`, and what a shell is offered where a run is expected.

Nothing heavy is imported: a shell asks at every press of the tab key.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from mwaa_headroom.harness.cli.options import example

SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_HEADROOM_COMPLETE"  # in which click is asked
_MOST_RUNS: Final = 100  # the newest: each has its manifest read for its tags


class RunPath(click.Path):
    """A run directory, a folder of some, or a reference; a shell is offered the references."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """References that begin so; where there are none, the shell offers files."""
        place, slash, _ = incomplete.rpartition("/")
        folder = Path(place or "/") if slash else Path("runs")
        with suppress(OSError):
            names = dict.fromkeys(f"{place}{slash}{name}" for name in _references(folder))
            if found := [CompletionItem(name) for name in names if name.startswith(incomplete)]:
                return found
        return super().shell_complete(ctx, param, incomplete)


def _references(folder: Path) -> Iterator[str]:
    manifests = [each / "manifest.json" for each in folder.iterdir() if not each.is_symlink()]
    manifests = sorted((each for each in manifests if each.is_file()), reverse=True)
    if manifests:
        yield "latest"
    yield from (each.parent.name for each in manifests)
    for manifest in manifests[:_MOST_RUNS]:
        with suppress(ValueError, AttributeError):
            tags = json.loads(manifest.read_bytes()).get("tags") or {}
            yield from (f"{key}={value}" for key, value in tags.items())


@click.command(
    "completion", epilog=example("echo 'eval \"$(headroom completion bash)\"' >> ~/.bashrc")
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, runs, tags and files.

    For bash and zsh: eval "$(headroom completion SHELL)"; for fish: headroom completion fish |
    source. Bash must be 4.4 or newer.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows all of SHELLS
    print(kind(ctx.find_root().command, {}, "headroom", _VARIABLE).source())
