"""Scenario files: what is accepted, and how what is wrong is told."""

from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import ScenarioError, UsageError
from mwaa_headroom.harness.scenario.load import check_scenario, load_scenario
from mwaa_headroom.harness.scenario.model import AwsSettings

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SMOKE = SCENARIOS / "smoke.toml"

GOOD = """
slo = ["p95(latency) < 1s"]
[question]
ask = "capacity"
[environment]
kind = "simulated"
[traffic.mix]
health = 1
list_dag_runs_10 = { operation = "list_dag_runs", weight = 2, limit = 10 }
[[stages]]
rate_per_s = 5
duration_s = 10
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(path: Path) -> None:
    assert load_scenario(path).name == path.stem


def test_an_entry_of_the_mix_may_be_a_weight_or_a_table(tmp_path: Path) -> None:
    mix = load_scenario(write(tmp_path, GOOD)).traffic.mix

    assert (mix["health"].operation, mix["health"].weight) == ("health", 1)
    assert mix["list_dag_runs_10"].operation == "list_dag_runs"
    assert mix["list_dag_runs_10"].parameters == {"limit": 10}


def test_the_effective_scenario_reads_back_as_itself(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, GOOD))

    again = check_scenario(scenario.model_dump(mode="json"), origin="scenario.json")

    assert again == scenario


@pytest.mark.parametrize(
    ("find", "replace", "told"),
    [
        ("kind =", "kindd =", "'environment' "),
        ('"simulated"', '"was"', "'environment' is wrong: 'kind' is 'was', not one of"),
        ("ask =", "asks = 1\nask =", "'question.asks' is not a known key"),
        ("rate_per_s = 5", "rate_per_s = 0", "'stages[0].rate_per_s' is wrong"),
        ("rate_per_s = 5", "rate_per_s = 50", "above limits.max_rate_per_s = 10"),
        ("rate_per_s = 5", 'rate_per_s = "fast"', "'stages[0].rate_per_s' is wrong"),
        ("rate_per_s = 5", 'rate_per_s = "5"', "'stages[0].rate_per_s' is wrong"),
        ("rate_per_s = 5", "rate_per_s = true", "'stages[0].rate_per_s' is wrong"),
        ("[traffic.mix]", "[traffic]\nseed = true\n[traffic.mix]", "'traffic.seed' is wrong"),
        ("[[stages]]", '[limits]\nclean_up = "no"\n[[stages]]', "'limits.clean_up' is wrong"),
        ("[[stages]]", "[limits]\nmax_rate_per_s = inf\n[[stages]]", "'limits.max_rate_per_s' is"),
        ("weight = 2", 'weight = "2"', "'traffic.mix.list_dag_runs_10.weight' is wrong"),
        ('slo = ["p95(latency) < 1s"]', 'slo = "p95(latency) < 1s"', "'slo' is wrong"),
        ('"simulated"', '"local"\nairflow_version = "1.9.0"', "known are 2.10.3, 2.11.2"),
        (
            '"simulated"',
            '"simulated"\ndemand_s = { list_dgas = 1 }',
            "unknown operation 'list_dgas'",
        ),
        ("duration_s = 10", "", "'stages[0].duration_s' is missing"),
        ("[traffic.mix]", '[traffic]\ntransport = "curl"\n[traffic.mix]', "'traffic.transport' is"),
        (
            "[[stages]]",
            "[recovery]\nlongest_s = 5\n[[stages]]",
            "longest_s must not be below hold_s",
        ),
        (
            "[[stages]]",
            "[recovery]\nrate_per_s = 11\n[[stages]]",
            "rate_per_s = 11 is above limits",
        ),
        (
            "rate_per_s = 5",
            "",
            'stages[0].rate_per_s is missing, which traffic.arrivals = "poisson"',
        ),
        ("rate_per_s = 5", "rate_per_s = 5\nusers = 2", "stages[0].users does not go with"),
        ("rate_per_s = 5", 'rate_per_s = 5\ntrace_file = "t.csv"', "trace_file does not go with"),
        ("duration_s = 10", "duration_s = 10\nwarmup_s = 10", "warmup_s must be shorter"),
        ("health = 1", "helth = 1", "unknown operation 'helth'"),
        ("health = 1", "health = true", "'health' must be a weight or a table"),
        ("limit = 10", "limitt = 10", "limitt"),
        ("limit = 10", "limit = -1", "limit"),
        ("p95(latency)", "p95(latncy)", "latncy"),
        ("p95(latency) < 1s", "p95(latency) < 1", "'slo[0]'"),
        ("p95(latency) <", "p95(latency{operation=helth}) <", "slo[0] names 'helth'"),
        ('slo = ["p95(latency) < 1s"]', "", "slo must not be empty"),
        ('"simulated"', '"simulated"\nmax_webservers = 9', "'environment.max_webservers' is wrong"),
        (
            '"simulated"',
            '"simulated"\nmin_webservers = 3\nmax_webservers = 2',
            "'environment': max_webservers must not be below",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(
    tmp_path: Path, find: str, replace: str, told: str
) -> None:
    assert find in GOOD
    path = write(tmp_path, GOOD.replace(find, replace))

    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)

    message = str(caught.value)
    assert str(path) in message
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "entry",
    [
        'refresh_token = { operation = "health" }',
        'trigger_dag_run = { conf = { db_password = "x" } }',
    ],
)
def test_what_no_record_may_hold_is_refused_before_anything_starts(
    tmp_path: Path, entry: str
) -> None:
    path = write(tmp_path, GOOD.replace("health = 1", entry))
    with pytest.raises(UsageError, match="looks like a secret"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("content", "told"), [(b"a = ", "is not valid TOML"), (b"\xff", "line 1 is not text in UTF-8")]
)
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "scenario.toml"
    path.write_bytes(content)

    with pytest.raises(ScenarioError, match=told):
        load_scenario(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="There is no scenario file"):
        load_scenario(tmp_path / "nowhere.toml")


class TestPrecedence:
    """Flag, then environment variable, then file."""

    def test_a_variable_beats_the_file(self, tmp_path: Path) -> None:
        variables = {"HEADROOM_TRAFFIC__SEED": "7", "HEADROOM_RUN_DIR": "ignored", "HOME": "x"}

        assert load_scenario(write(tmp_path, GOOD), variables=variables).traffic.seed == 7

    def test_a_flag_beats_the_variable(self, tmp_path: Path) -> None:
        scenario = load_scenario(
            write(tmp_path, GOOD),
            overrides=["traffic.seed=8", "environment.name=plain-text"],
            variables={"HEADROOM_TRAFFIC__SEED": "7"},
        )

        assert scenario.traffic.seed == 8
        assert scenario.environment.name == "plain-text"

    def test_every_table_of_a_scenario_has_variables(self, tmp_path: Path) -> None:
        variables = {"HEADROOM_RECOVERY__HOLD_S": "3", "HEADROOM_LIMITS__MAX_RATE_PER_S": "9"}

        scenario = load_scenario(write(tmp_path, GOOD), variables=variables)

        assert (scenario.recovery.hold_s, scenario.limits.max_rate_per_s) == (3, 9)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("MAX_RATE_PER_S", "11"),  # the default is 10
            ("MAX_RATE_PER_S", "nan"),
            ("MAX_RATE_PER_S", "true"),
            ("MAX_IN_FLIGHT", "5000"),
            ("ALLOW_ENVIRONMENT", "arn:aws:airflow:us-east-1:123456789012:environment/other"),
            ("CONFIRM_PRODUCTION", "prod"),
            ("ABORT_ERROR_RATE", "1"),
            ("ABORT_UNHEALTHY", "[]"),
            ("CLEAN_UP", "false"),
            ("TRIGGER_DAGS_TO_READ", "true"),
        ],
    )
    def test_a_variable_lowers_a_limit_and_never_lifts_one(
        self, tmp_path: Path, key: str, value: str
    ) -> None:
        path = write(tmp_path, GOOD)
        name = f"HEADROOM_LIMITS__{key}"
        with pytest.raises(ScenarioError, match=f"{name} .* limits.{key.lower()} in the file"):
            load_scenario(path, variables={name: value})
        limited = write(tmp_path, f"{GOOD}\n[limits]\nmax_rate_per_s = 50\n")
        lowered = load_scenario(limited, variables={"HEADROOM_LIMITS__MAX_RATE_PER_S": "20"})
        assert lowered.limits.max_rate_per_s == 20

    def test_a_misspelt_variable_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ScenarioError, match="HEADROOM_ENVIROMENT__NAME does not name a table"):
            load_scenario(write(tmp_path, GOOD), variables={"HEADROOM_ENVIROMENT__NAME": "x"})

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("traffic.sed=1", "'traffic.sed' is not a known key"),
            ("traffic", "--set needs key.path=value"),
            ("name.deeper=1", "is not a key of a table"),
        ],
    )
    def test_a_wrong_flag_is_told(self, tmp_path: Path, override: str, told: str) -> None:
        with pytest.raises(ScenarioError, match=told):
            load_scenario(write(tmp_path, GOOD), overrides=[override])


def test_an_aws_environment_is_capped_at_the_documented_rate(tmp_path: Path) -> None:
    text = GOOD.replace('kind = "simulated"', 'kind = "aws"\nname = "prod"')

    scenario = load_scenario(write(tmp_path, text))

    assert isinstance(scenario.environment, AwsSettings)
    assert scenario.limits.max_rate_per_s == 10
    assert scenario.limits.allow_environment is None


@pytest.mark.parametrize("text", ["1_0", "-1_000.5", "1_0e3"])
def test_numbers_from_the_outside_are_written_without_grouping(text: str) -> None:
    with pytest.raises(ScenarioError, match=f"'{text}': write numbers without '_'"):
        load_scenario(SMOKE, overrides=[f"traffic.seed={text}"])
    with pytest.raises(ScenarioError, match=f"'{text}': write numbers without '_'"):
        load_scenario(SMOKE, variables={"HEADROOM_TRAFFIC__SEED": text})


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("key", ["limits.max_rate_per_s", "traffic.trace_scale", "recovery.hold_s"])
def test_numbers_are_finite(key: str, value: str) -> None:
    with pytest.raises(ScenarioError, match=key):
        load_scenario(SMOKE, overrides=[f"{key}={value}"])


def test_a_value_is_one_value() -> None:
    """A line break in it begins no further key."""
    loaded = load_scenario(SMOKE, overrides=["name=1\nslo=[]"])
    assert loaded.name == "1\nslo=[]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "9" * 5000, "is not valid TOML"),
    ],
)
def test_a_file_that_overstrains_its_reader_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=told):
        load_scenario(path)


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "smoke.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMOKE.read_bytes().replace(b"\n", b"\r\n"))
    assert load_scenario(path) == load_scenario(SMOKE)
