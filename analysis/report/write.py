"""Puts the report's files into a run directory, each whole or not at all."""

from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Final

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.report.as_json import analysis_as_json
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import junit_xml
from mwaa_headroom.analysis.report.plots.gallery import (
    PICTURE_NAMES,
    as_inline_svg,
    as_png,
    draw_pictures,
)
from mwaa_headroom.analysis.report.terminal import render_summary
from mwaa_headroom.analysis.results import RunAnalysis

SUMMARY_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the files are."""

    html: Path
    json: Path
    junit: Path
    summary: Path
    plots: tuple[Path, ...]


def write_reports(record: RunRecord, analysis: RunAnalysis, directory: Path) -> ReportPaths:
    """Write report.html, report.json, junit.xml, summary.txt and plots/*.png into `directory`.

    Files of an earlier report are replaced; a picture this run no longer has is removed.

    Raises:
        OSError: the directory cannot be written.
    """
    pictures = draw_pictures(record.requests, analysis)
    plots = directory / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for name in PICTURE_NAMES:
        if name in pictures:
            replace_file(plots / f"{name}.png", as_png(pictures[name]))
        else:
            (plots / f"{name}.png").unlink(missing_ok=True)
    svgs = {name: as_inline_svg(figure, name) for name, figure in pictures.items()}
    paths = ReportPaths(
        html=directory / "report.html",
        json=directory / "report.json",
        junit=directory / "junit.xml",
        summary=directory / "summary.txt",
        plots=tuple(plots / f"{name}.png" for name in pictures),
    )
    summary = render_summary(analysis, colour=False, width=SUMMARY_WIDTH)
    replace_file(paths.summary, f"{summary}\n".encode())
    json = dumps(analysis_as_json(analysis), indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(paths.json, f"{json}\n".encode())
    replace_file(paths.junit, junit_xml(analysis).encode())
    replace_file(paths.html, render_html(analysis, svgs).encode())
    return paths


def replace_file(path: Path, content: bytes) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(content)
    beside.replace(path)
