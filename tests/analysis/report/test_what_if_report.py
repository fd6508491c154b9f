"""What people and pages read of a what-if."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_files import golden
from html_page import parsed
from synthetic_records import SyntheticRun, write_synthetic_run

from mwaa_headroom.analysis.policy.simulated_load import SimulatedLoad, WithRange
from mwaa_headroom.analysis.policy.what_if import AskedLoad, WhatIf, answer_what_if
from mwaa_headroom.analysis.report.document import Document
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.report.what_if_report import what_if_document
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.run import Run


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory) -> WhatIf:
    """A burst that 2-4 webservers catch up with."""
    directory = tmp_path_factory.mktemp("what-if") / "rising"
    truth = SyntheticRun(rates_per_s=(4.0, 8.0, 18.0, 24.0, 28.0), max_webservers=4)
    write_synthetic_run(directory, truth)
    rates = np.repeat([6.0, 38.0, 6.0], 300)
    return answer_what_if([Run.read(directory).analysis], AskedLoad("a burst", rates))


def load_of(result: WhatIf) -> SimulatedLoad:
    assert result.load is not None
    return result.load


def text(document: Document, *, verbose: bool = True) -> str:
    return render_terminal(document, verbose=verbose, width=100, colour=False)


def test_a_burst_reads_like_the_golden_text(burst: WhatIf) -> None:
    document = what_if_document(burst)
    everything, brief = text(document), text(document, verbose=False)

    assert everything == golden("what_if.txt", everything)
    assert brief == golden("what_if_brief.txt", brief)
    assert len(brief.splitlines()) <= 40


def test_without_a_load_the_rule_is_the_answer(burst: WhatIf) -> None:
    document = what_if_document(replace(burst, load=None, notes=()))

    assert document.sentence.startswith("The fitted rule makes 2 of 2 changes")
    shown = [section.title for section in document.sections if section.brief]
    assert shown[:2] == ["The rule, as far as the runs tell it", "The recorded runs, replayed"]


def test_a_load_that_is_never_caught_up_with_is_bad(burst: WhatIf) -> None:
    load = replace(load_of(burst), caught_up_after_s=WithRange(None, 600.0, None))
    document = what_if_document(replace(burst, load=load))

    assert document.status == "bad"
    assert "would not be caught up with" in document.sentence
    assert "longest until caught up never 10 min or more" in " ".join(text(document).split())


def test_many_changes_are_cut_with_their_number(burst: WhatIf) -> None:
    load = load_of(burst)
    load = replace(load, changes=30 * load.changes[:1])

    assert "The first 24 of 30; all are in the JSON." in text(
        what_if_document(replace(burst, load=load))
    )


def test_a_refusal_is_listed(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "pinned", max_webservers=2)
    result = answer_what_if([Run.read(tmp_path / "pinned").analysis], None)
    document = what_if_document(result)

    assert (document.headline, document.status) == ("Not told", "unclear")
    assert "there is no run that can scale" in " ".join(text(document, verbose=False).split())


def test_the_files_of_a_what_if(burst: WhatIf, tmp_path: Path) -> None:
    html = write_document(what_if_document(burst), tmp_path).read_text()

    data = json.loads((tmp_path / "what-if.json").read_text())
    assert data["load"]["duration_s"] == 900
    assert json.loads(parsed(html).data) == data
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        *("what-if.html", "what-if.json", "summary.txt", "summary.md"),
        *("what-if.png", "replay.png"),
    }
