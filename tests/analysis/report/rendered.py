"""Analyses made by hand as the reports they give."""

from pathlib import Path

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.report.document import Document, Figure
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import render_junit
from mwaa_headroom.analysis.report.run_findings import findings
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, REQUESTS_SCHEMA

NOTHING_RECORDED = RunRecord(
    directory=Path("runs/by-hand"),
    manifest={},
    requests=REQUESTS_SCHEMA.empty_table(),
    metrics=METRICS_SCHEMA.empty_table(),
    events=(),
    complete=True,
    warnings=(),
)


def as_run(analysis: RunAnalysis, record: RunRecord = NOTHING_RECORDED) -> Run:
    """A run of which this has been found; every call that ended ok was good."""
    run = Run(record)
    run.__dict__.update(analysis=analysis, good=run.calls.ok)
    return run


def summary(
    analysis: RunAnalysis, *, verbose: bool = True, width: int = 100, colour: bool = False
) -> str:
    document = run_document(as_run(analysis))
    return render_terminal(document, verbose=verbose, width=width, colour=colour)


def page(analysis: RunAnalysis) -> str:
    """The page, without pictures."""
    return render_html(run_document(as_run(analysis)), {})


def page_with_charts(document: Document) -> str:
    """The page with its charts alone: pictures take longer, and are none of a browser's."""
    figures = (b for s in document.sections for b in s.blocks if isinstance(b, Figure))
    charts = {f.name: chart for f in figures if f.chart and (chart := f.chart())}
    assert charts
    return render_html(document, {}, charts)


def junit(analysis: RunAnalysis) -> str:
    return render_junit(run_document(as_run(analysis)))


def every_finding(analysis: RunAnalysis) -> tuple[str, ...]:
    concerning, others = findings(analysis)
    return (*concerning, *others)
