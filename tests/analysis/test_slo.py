import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.errors import SloSyntaxError
from mwaa_headroom.analysis.slo import ERROR_LAYERS, ERROR_OUTCOMES, METRICS, parse_slo


@pytest.mark.parametrize(
    ("text", "threshold", "met", "broken"),
    [
        ("p95(latency) < 800ms", 0.8, 0.799, 0.8),
        ("p99.9(service_time) <= 2s", 2.0, 2.0, 2.001),
        ("mean(latency) < 1.5 s", 1.5, 1.4, 1.6),
        ("max(latency) < 10s", 10.0, 9.9, 10.1),
        ("p95(latency{operation=list_dags}) < 500ms", 0.5, 0.4, 0.6),
        ("rate(errors) < 1%", 0.01, 0.009, 0.01),
        ("rate(errors{layer=airflow}) < 0.5%", 0.005, 0.004, 0.006),
        ("rate(errors{outcome=throttled}) <= 0 %", 0.0, 0.0, 0.001),
        ("rate(unsent) < 0.1%", 0.001, 0.0, 0.001),
        ("max(webserver.cpu) < 85%", 0.85, 0.84, 0.86),
        ("mean(webserver.memory) < 85%", 0.85, 0.84, 0.86),
        ("max(webserver.connections) < 15", 15.0, 14.0, 15.0),
        ("min(webserver.count) >= 2", 2.0, 2.0, 1.0),
        ("rate(goodput) > 99%", 0.99, 0.991, 0.99),
    ],
)
def test_threshold_is_in_base_units_and_compared_as_written(
    text: str, threshold: float, met: float, broken: float
) -> None:
    slo = parse_slo(text)
    assert slo.threshold == pytest.approx(threshold)
    assert slo.is_met_by(met)
    assert not slo.is_met_by(broken)
    assert slo.text == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not of the form"),
        ("latency < 800ms", "not of the form"),
        ("p95(latency) = 800ms", "not of the form"),
        ("p95(latency) < -1ms", "not of the form"),
        ("p95(latency) < nanms", "not of the form"),
        ("p95(latency) < inf s", "not of the form"),
        ("p95(latency) < 1_0ms", "not of the form"),
        ("p95(latency) < 1e999ms", "a number that is too large"),
        ("p95(latency{}) < 1s", "not of the form"),
        (
            "p95(latenc) < 800ms",
            "unknown metric 'latenc' (did you mean 'latency'?); known are latency, service",
        ),
        ("q95(latency) < 800ms", "unknown function 'q95'"),
        ("p100(latency) < 800ms", "unknown function 'p100'"),
        ("p0(latency) < 800ms", "unknown function 'p0'"),
        ("rate(latency) < 1%", "only p50..p99.9, mean, max"),
        ("p95(errors) < 1%", "only rate"),
        ("p95(latency) < 800", "wrong unit: latency is compared with a number with ms or s"),
        ("p95(latency) < 2m", "wrong unit"),
        ("rate(errors) < 0.01", "a number with %"),
        ("max(webserver.connections) < 15%", "a number, no unit"),
        ("rate(errors) < 101%", "more than 100 %"),
        ("rate(errors{layer=database}) < 1%", "known are caller, service, airflow, network"),
        ("rate(errors{layer=generator}) < 1%", "unknown layer"),
        ("rate(errors{outcome=ok}) < 1%", "unknown outcome 'ok'; known are throttled"),
        ("p95(latency{layer=airflow}) < 1s", "can be selected by operation"),
        ("rate(unsent{operation=x}) < 1%", "can be selected by nothing"),
    ],
)
def test_what_is_not_known_is_refused_in_one_sentence_that_names_what_is(
    text: str, says: str
) -> None:
    with pytest.raises(SloSyntaxError) as refused:
        parse_slo(text)
    message = str(refused.value)
    assert says in message
    assert message.endswith(".")
    assert "\n" not in message


@st.composite
def slo_texts(draw: st.DrawFn) -> str:
    metric = draw(st.sampled_from(sorted(METRICS)))
    known = METRICS[metric]
    function = draw(st.sampled_from(known.functions))
    if function == "p50..p99.9":
        percent = draw(st.integers(1, 999)) / 10
        function = f"p{percent:g}"
    selector = ""
    if known.selectors and draw(st.booleans()):
        key = draw(st.sampled_from(known.selectors))
        values = {"layer": ERROR_LAYERS, "outcome": ERROR_OUTCOMES}.get(key, ("list dags", "a.b"))
        selector = f"{{{key} = {draw(st.sampled_from(values))}}}"
    is_trend = function == "trend"
    unit = draw(st.sampled_from([u for u in known.units if u.endswith("/h") is is_trend]))
    number = draw(st.floats(0, 100, allow_subnormal=False))
    space = draw(st.sampled_from(["", " ", "  "]))
    comparison = draw(st.sampled_from(["<", "<=", ">", ">="]))
    return f"{space}{function}({metric}{selector}){space}{comparison}{space}{number!r}{space}{unit}"


@given(slo_texts())
def test_canonical_text_parses_to_an_equal_value(text: str) -> None:
    slo = parse_slo(text)
    assert parse_slo(str(slo)) == slo
    assert str(parse_slo(str(slo))) == str(slo)


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        slo = parse_slo(text)
    except SloSyntaxError:
        return
    assert slo.metric in METRICS
