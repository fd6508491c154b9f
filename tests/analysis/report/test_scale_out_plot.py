from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.report.plots.drawing import style
from mwaa_headroom.analysis.report.plots.scale_out import draw_scale_out
from mwaa_headroom.analysis.results import RunAnalysis, TransientCost
from mwaa_headroom.analysis.run import Run


@pytest.fixture(scope="module")
def scaled_out(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory: Path = tmp_path_factory.mktemp("runs") / "scaled-out"
    write_synthetic_run(directory, rates_per_s=(8.0, 24.0), webserver_start_s=12.0)
    return Run.read(directory)


def draw(run: Run, analysis: RunAnalysis) -> Figure | None:
    with style():
        figure = draw_scale_out(analysis, run.calls, run.good)
        if figure:
            figure.canvas.draw()
        return figure


def texts(figure: Figure) -> str:
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
