"""The pictures of one run: what they name, and that nothing leaves them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hand_built import said
from matplotlib.figure import Figure as Drawing
from rendered import as_run
from rich_run import rich
from sample_runs import Plan, made_up_run
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.calls import calls_of
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.report import run_tables
from mwaa_headroom.analysis.report.document import Figure
from mwaa_headroom.analysis.report.plots.drawing import as_inline_svg, as_png, style
from mwaa_headroom.analysis.report.plots.scale_out import draw_scale_out
from mwaa_headroom.analysis.report.plots.stages import draw_throughput_latency
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.results import (
    RecoveryResult,
    RunAnalysis,
    TransientCost,
)
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA


def with_stage(analysis: RunAnalysis, **changes: Any) -> RunAnalysis:
    """The same run, with its first stage changed."""
    first, *others = analysis.stages
    return replace(analysis, stages=(replace(first, **changes), *others))


UGLY = {
    "no metrics": Plan(metrics=False, duration_s=20, warmup_s=2),
    "every call fails": Plan(rates=(5, 10), all_errors=True, duration_s=20, warmup_s=2),
    "one stage": Plan(rates=(12,), question="check"),
    "one slow stage": Plan(rates=(0.3,), duration_s=10, warmup_s=1),
    "twelve stages": Plan(
        rates=tuple(range(4, 28, 2)),
        names=["$a_b$ 長い名前 <b>"] * 12,
        duration_s=6,
        warmup_s=1,
    ),
    "scale-out in the middle": Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75),
    "interrupted": Plan(interrupted=True, duration_s=20, scale_out_at_s=90),
}


def drawn(analysis: RunAnalysis, record: RunRecord) -> dict[str, Drawing]:
    """The pictures of a report, by name."""
    document = run_document(as_run(analysis, record))
    with style():
        found = {
            block.name: block.draw()
            for section in document.sections
            for block in section.blocks
            if isinstance(block, Figure)
        }
    assert found.keys() <= set(document.pictures)
    return {name: figure for name, figure in found.items() if figure is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", UGLY)
def test_pictures_of_ugly_runs(name: str) -> None:
    record, analysis = made_up_run(UGLY[name])
    pictures = drawn(analysis, record)
    assert "timeline" in pictures
    assert "errors" not in pictures or len(analysis.stages) > 1
    assert ("sizing" in pictures) == (analysis.demand is not None)
    for figure in pictures.values():
        png = as_png(figure)
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000


def test_a_recovery_is_shown_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60))
    recovery = RecoveryResult(
        after_stage=1,
        load_ended_at_s=analysis.stages[0].ended_at_s,
        watched_s=40.0,
        rate_per_s=4.0,
        calls=160,
        hold_s=10.0,
        recovered_after_s=12.4,
        explanation=said(""),
    )
    calls = calls_of(record.requests)
    seen = draw_timeline(replace(analysis, recoveries=(recovery,)), calls)
    never = replace(recovery, recovered_after_s=None)
    unseen = draw_timeline(replace(analysis, recoveries=(never,)), calls)
    for figure, named, marks in ((seen, "recovery after 12 s", 1), (unseen, "no recovery seen", 0)):
        rate = figure.axes[0]
        assert any(named in text.get_text() for text in rate.texts)
        at_s = recovery.load_ended_at_s + 12.4 - analysis.started_at_s
        near = pytest.approx([at_s, at_s])
        assert sum(list(line.get_xdata()) == near for line in rate.lines) == marks


def test_unsent_arrivals_are_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(10,)))
    rows = record.requests.to_pylist()
    for row in rows[::3]:
        row.update(outcome="unsent", lag_s=None, service_time_s=None, attempts=0)
    requests = pa.Table.from_pylist(rows, schema=REQUESTS_SCHEMA)
    svg = as_inline_svg(draw_timeline(analysis, calls_of(requests)), "timeline")
    assert f"{len(rows[::3])} arrivals were not sent" in " ".join(svg.split())
    assert ">generator<" in svg


def test_the_webserver_count_steps_at_the_end_of_the_period_that_first_shows_it() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    shown = next(point for point in analysis.periods if point.webservers == 3)
    figure = draw_timeline(analysis, calls_of(record.requests))
    (panel,) = (axes for axes in figure.axes if axes.get_ylabel() == "webservers")
    x, counts = panel.lines[0].get_data()
    stepped_at_s = next(at for at, count in zip(x, counts, strict=True) if count == 3)
    assert stepped_at_s == shown.start_s + shown.period_s - analysis.started_at_s


def test_a_lost_load_process_is_marked_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 12), duration_s=30))
    lost = {"time_s": analysis.started_at_s + 40.0, "kind": "worker_lost", "worker": 2}
    figure = draw_timeline(replace(analysis, events=(lost,)), as_run(analysis, record).calls)
    rate, latency, *others = figure.axes
    assert any("load process 2 lost 00:40" in text.get_text() for text in rate.texts)
    for axes, lines in ((rate, 1), (latency, 1), (others[-1], 0)):
        assert sum(np.array_equal(line.get_xdata(), [40.0, 40.0]) for line in axes.lines) == lines


def test_the_databases_cpu_is_a_line_where_it_is_known() -> None:
    record, plain = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    for analysis, shown in ((plain, False), (rich(plain), True)):
        figure = draw_timeline(analysis, as_run(analysis, record).calls)
        (cpu,) = (axes for axes in figure.axes if axes.get_ylabel() == "CPU (%)")
        assert any(text.get_text() == "database" for text in cpu.texts) == shown
        table = run_tables.webserver_table(analysis.stages)
        assert table is not None
        assert any(column.heading == "database CPU" for column in table.columns) == shown


def test_the_titles_of_the_timeline_can_count_to_one() -> None:
    record, analysis = made_up_run(Plan())
    requests, analysis = record.requests, replace(analysis, scaling=())
    one = draw_timeline(analysis, calls_of(requests.slice(0, 1))).texts[0].get_text()
    assert one.startswith("1 call in ")
    place = requests.schema.get_field_index("outcome")
    kind = requests.schema.field(place)
    outcomes = pa.array(["unsent", "airflow_server_error"]).cast(kind.type)
    two = requests.slice(0, 2).set_column(place, kind, outcomes)
    title = draw_timeline(analysis, calls_of(two)).texts[0].get_text()
    assert "it failed, 1 arrival was not sent" in " ".join(title.split())


def test_the_picture_of_the_stages_shows_the_capacity_and_doubtful_passes() -> None:
    _, analysis = made_up_run(Plan())
    analysis = with_stage(rich(analysis), trial="undecided")
    figure = draw_throughput_latency(analysis)
    texts = [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]
    assert any(text.startswith("The SLO breaks at 24.1 calls/s (22.8-25.6)") for text in texts)
    assert "met, but undecided" in texts
    assert "capacity with 2 webservers" in texts


@pytest.fixture(scope="module")
def scaled_out(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory: Path = tmp_path_factory.mktemp("runs") / "scaled-out"
    write_synthetic_run(directory, rates_per_s=(8.0, 24.0), webserver_start_s=12.0)
    return Run.read(directory)


def draw(run: Run, analysis: RunAnalysis) -> Drawing | None:
    with style():
        figure = draw_scale_out(analysis, run.calls, run.good)
        if figure:
            figure.canvas.draw()
        return figure


def texts(figure: Drawing) -> str:
    own = [text.get_text() for text in figure.texts]
    return "\n".join([*own, *(text.get_text() for axes in figure.axes for text in axes.texts)])


def test_every_step_is_named_with_its_time_and_gap(
    scaled_out: Run,
) -> None:
    figure = draw(scaled_out, scaled_out.analysis)
    assert figure is not None
    shown = texts(figure)
    assert len(figure.axes) == 6
    assert "Scaling out from 2 to 3 webservers took 22 s from the load step" in shown
    assert "load step 01:02" in shown
    assert "threshold passed 01:07, after 5 s (known to 5 s)" in shown
    assert "decision 01:12, after 5 s" in shown
    assert "takes traffic 01:24, after 12 s" in shown
    assert "SLO restored" in shown


@pytest.mark.parametrize(
    ("excess", "told"),
    [
        (1.0, "; 1 call (1 %) more than usual failed or was slow"),
        (2.0, "; 2 calls (2 %) more than usual failed or were slow"),
    ],
)
def test_the_cost_is_told_in_the_title(scaled_out: Run, excess: float, told: str) -> None:
    analysis = scaled_out.analysis
    (event,) = analysis.scaling
    step_s = event.load_step_s or 0.0
    cost = TransientCost(step_s, step_s + 30, 100, 0, 0.0, 2, excess, ended=True)
    figure = draw(scaled_out, replace(analysis, scaling=(replace(event, cost=cost),)))
    assert figure is not None
    assert told in " ".join(figure.texts[0].get_text().split())


def test_names_of_steps_stay_within_the_picture(scaled_out: Run) -> None:
    figure = draw(scaled_out, scaled_out.analysis)
    assert figure is not None
    for text in figure.axes[0].texts:
        assert figure.bbox.x0 <= text.get_window_extent().x0
        assert text.get_window_extent().x1 <= figure.bbox.x1


def test_without_metrics_there_are_no_webserver_panels(
    scaled_out: Run,
) -> None:
    analysis = scaled_out.analysis
    figure = draw(scaled_out, replace(analysis, periods=()))
    assert figure is not None
    assert len(figure.axes) == 4


def test_a_scale_out_that_was_never_seen_to_end_is_drawn_as_far_as_it_is_known(
    scaled_out: Run,
) -> None:
    analysis = scaled_out.analysis
    event = replace(
        analysis.scaling[0], ready_s=None, takes_traffic_s=None, count_changed_s=None, cost=None
    )
    figure = draw(scaled_out, replace(analysis, scaling=(replace(event, slo_restored_s=None),)))
    assert figure is not None
    assert "decision 01:12" in texts(figure)


def test_no_scale_out_no_picture(scaled_out: Run) -> None:
    analysis = scaled_out.analysis
    assert draw(scaled_out, replace(analysis, scaling=())) is None
    falling = replace(analysis.scaling[0], from_count=3, to_count=2)
    assert draw(scaled_out, replace(analysis, scaling=(falling,))) is None
