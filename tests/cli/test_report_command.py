"""`headroom report`: which run it takes, and what `headroom run --help` promises to keep."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from compared_runs import write_imagined_run

from mwaa_headroom.harness.cli.run import run_command
from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.run.answers import report_run


@pytest.mark.slow
def test_a_folder_with_one_run_is_as_good_as_the_run(tmp_path: Path) -> None:
    run = write_imagined_run(tmp_path / "one", seed=1)
    (tmp_path / "latest").symlink_to(run.name)

    assert report_run(tmp_path).page.parent == run


def test_of_several_runs_one_must_be_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_imagined_run(tmp_path / name, seed=1)

    with pytest.raises(RecordError) as told:
        report_run(tmp_path)

    assert str(told.value) == (
        f"'{tmp_path}' holds 2 runs: name one of them, such as '{tmp_path}/two'."
    )


def test_help_tells_what_is_kept_of_an_interrupted_run() -> None:
    shown = " ".join(CliRunner().invoke(run_command, ["--help"]).output.split())

    assert "Ctrl-C ends the load, keeps the record" in shown
    assert "Ctrl-C then keeps nothing." in shown
