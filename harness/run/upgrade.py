"""An upgrade experiment: both sides do the same work in turn, in pairs of runs, until it is clear.

    both environments up -> a pilot of either -> the stages -> pair after pair, looked at after each

Its directory holds `experiment.json`, every run in `pairs/` (tags say of which pair and side), and
the pilots. All that was finished counts when it is begun again; what a pair lacks a half of, not.

Stages, the same in every run: each operation of the mix alone at a moderate load, and the whole mix
at two loads. The rates are chosen by the pilot so that the dearer side is as busy as that; both
sides get the same arrivals, other ones in every pair.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from mwaa_headroom.analysis.comparison.paired import FEWEST_PAIRS, Looks
from mwaa_headroom.analysis.comparison.upgrade import (
    MIX_STAGES,
    Pair,
    Prices,
    UpgradeAnswer,
    doubt_of,
    upgrade_answer,
)
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.mwaa import FEWEST_WEBSERVERS
from mwaa_headroom.analysis.planning.classes import SMALLEST_THAT_SCALES
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import MANIFEST_FILE
from mwaa_headroom.harness.aws.prices import load_prices
from mwaa_headroom.harness.errors import EnvironmentStartError, RecordError, ScenarioError
from mwaa_headroom.harness.files import writing
from mwaa_headroom.harness.local.settings import (
    SIMULATED_DEMANDS_S,
    LocalSettings,
    Settings,
    known_versions,
)
from mwaa_headroom.harness.record.directory import create_run_directory
from mwaa_headroom.harness.run.environments import RunEnvironment, open_environment
from mwaa_headroom.harness.run.progress import LoadStatus, Progress
from mwaa_headroom.harness.run.recording import Phases
from mwaa_headroom.harness.run.session import run_scenario
from mwaa_headroom.harness.scenario.load import check_scenario, load_scenario
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario, Stage, UpgradeSides
from mwaa_headroom.harness.validation import validated
from mwaa_headroom.harness.virtual.run import run_in_virtual_time

EXPERIMENT_FILE: Final = "experiment.json"
SideName = Literal["baseline", "contender"]
SIDES: Final[tuple[SideName, SideName]] = ("baseline", "contender")

_OPERATION_LOAD: Final = 0.35  # of the dearer side's CPU, by what its calls are thought to cost
_MIX_LOADS: Final = dict(zip(MIX_STAGES, (0.3, 0.55), strict=True))
_PILOT_LOAD: Final = 0.2
_MORE_PAIRS: Final = 0.5  # of those planned, in place of disturbed ones
_MOST_FAILED: Final = 0.5  # of the pilot's calls
_FEWEST_CPUS_ON_AWS: Final = 1.0  # of a webserver, of the classes that scale
_OPEN: Final = ("poisson", "constant")


class Experiment(Settings):
    """What was asked, as kept in `experiment.json`."""

    scenario_file: str
    sides: dict[SideName, dict[str, Any]]
    """Effective scenarios, their stages left out of account."""
    stages: tuple[Stage, ...] = Field(default=(), strict=False)
    """Of every run; none before the pilot."""
    pairs: int
    margin: float
    seed: int
    virtual_time: bool

    @property
    def looks(self) -> Looks:
        """After which numbers of pairs it is looked for an answer."""
        return Looks(min(FEWEST_PAIRS, self.pairs), self.pairs)

    @property
    def meant_to_differ(self) -> tuple[str, ...]:
        """Settings of the environment that only one side has."""
        before, after = (self.sides[side]["environment"] for side in SIDES)
        return tuple(f"environment.{key}" for key in before if before[key] != after.get(key))

    def scenario(self, side: SideName, stages: tuple[Stage, ...], seed: int) -> Scenario:
        """What one run of a side does."""
        tree = self.sides[side]
        changed = {
            "stages": [stage.model_dump(mode="json") for stage in stages],
            "traffic": tree["traffic"] | {"seed": seed},
        }
        return check_scenario(tree | changed, origin=f"{self.scenario_file}, {side}")

    def order(self, pair: int) -> tuple[SideName, ...]:
        """Which side runs first: by lot, and in every two pairs each once."""
        block, second = divmod(pair - 1, 2)
        is_turned = random.Random(f"{self.seed} {block}").random() < 0.5  # noqa: S311 - a lot
        return SIDES[::-1] if is_turned != bool(second) else SIDES


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far an experiment came."""

    directory: Path
    answer: UpgradeAnswer | None  # None: no pair was finished
    interrupted: bool = False


def new_experiment(
    scenario_file: Path,
    *,
    overrides: tuple[str, ...],
    variables: Mapping[str, str],
    versions: tuple[str | None, str | None],
    pairs: int,
    margin: float,
    virtual_time: bool,
    runs_directory: Path,
    now: datetime,
) -> Path:
    """Check what is asked and write it into a directory of its own, which is returned.

    Args:
        scenario_file: with the traffic, the environment and what only one side has.
        overrides: `key.path=value`, for both sides.
        variables: the process environment.
        versions: Airflow's of both sides; None: as the scenario says.
        pairs: at most.
        margin: fraction by which a gate metric may get worse.
        virtual_time: whether runs are computed, of simulated webservers.
        runs_directory: where the directory is made.
        now: an aware time.

    Raises:
        HeadroomError: one sentence with the key, or the directory cannot be made.
    """
    scenario = load_scenario(scenario_file, overrides=overrides, variables=variables)
    if scenario.traffic.arrivals not in _OPEN:
        raise ScenarioError(
            f"{scenario_file}: an upgrade experiment makes its own stages, with traffic.arrivals = "
            f'"poisson" or "constant", not "{scenario.traffic.arrivals}".'
        )
    if versions == (None, None) and scenario.upgrade == UpgradeSides():
        raise ScenarioError(
            f"{scenario_file}: both sides would be the same; give --from and --to, or say in "
            "upgrade.contender what that side has."
        )
    sides = {
        side: _effective(scenario, scenario_file, side, version)
        for side, version in zip(SIDES, versions, strict=True)
    }
    directory = create_run_directory(runs_directory, f"upgrade {scenario.name}", now)
    directory = directory.rename(directory.with_name(f"upgrade-{directory.name}"))
    experiment = Experiment(
        scenario_file=str(scenario_file),
        sides=sides,
        pairs=pairs,
        margin=margin,
        seed=scenario.traffic.seed,
        virtual_time=virtual_time,
    )
    _save(experiment, directory)
    return directory


def _effective(
    scenario: Scenario, scenario_file: Path, side: SideName, version: str | None
) -> dict[str, Any]:
    """One side's scenario, pinned, and run as MWAA runs its Airflow."""
    tree = _merged(
        scenario.model_dump(mode="json", exclude={"upgrade"}), getattr(scenario.upgrade, side)
    )
    tree = check_scenario(tree, origin=f"{scenario_file}, upgrade.{side}").model_dump(mode="json")
    environment = tree["environment"]
    if version is not None:
        if environment["kind"] == "aws":
            raise ScenarioError(
                f"{scenario_file}: --from and --to choose what runs on this machine; environments "
                "on AWS have the version they have, and upgrade.baseline and upgrade.contender "
                "name them."
            )
        if environment["kind"] == "local" and version not in known_versions():
            raise ScenarioError(
                f"Airflow {version} cannot be run locally; known are {', '.join(known_versions())}."
            )
        environment["airflow_version"] = version
    if environment["kind"] != "aws":
        environment["name"] = f"{environment['name'][:60]}-{side}"
        environment["max_webservers"] = environment["min_webservers"]
        environment["metrics"]["period_s"] = 1
    if environment["kind"] == "local":
        environment["auth_manager"] = "fab"
    tree["question"]["ask"] = "check"
    tree["recovery"]["longest_s"] = 0
    checked = check_scenario(tree, origin=f"{scenario_file}, upgrade.{side}")
    return checked.model_dump(mode="json")


def _merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in changes.items():
        inner = merged.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = _merged(inner, value)
        merged[key] = value
    return merged


def read_experiment(directory: Path) -> Experiment:
    """What was asked in an experiment's directory.

    Raises:
        RecordError: it is none.
    """
    try:
        tree = json.loads((directory / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise RecordError(
            f"'{directory}' holds no upgrade experiment: give a scenario file, or the directory "
            "that an experiment named when it began."
        ) from exc
    return validated(Experiment, tree, origin=str(directory / EXPERIMENT_FILE), error=RecordError)


def _save(experiment: Experiment, directory: Path) -> None:
    path = directory / EXPERIMENT_FILE
    with writing(path):
        path.write_text(experiment.model_dump_json(indent=2) + "\n", encoding="utf-8")


def carry_out(directory: Path, progress: Progress, tell: Callable[[UpgradeAnswer], str]) -> Outcome:
    """Begin an experiment, or go on with it, until it is decided or its pairs are made.

    Ctrl-C ends the run that goes on in order; what was finished is the answer then.

    Args:
        directory: of the experiment.
        progress: is told how far it is.
        tell: the answer so far in one line.

    Raises:
        HeadroomError: an environment did not come up, died, or answers with errors only; what was
            finished stays, and the experiment can go on.
    """
    going_on = _GoingOn(directory, read_experiment(directory), progress, finished_pairs(directory))
    answer = going_on.answer()
    try:
        if answer is None or not going_on.is_over(answer):
            with ExitStack() as until_the_end:
                going_on.open(until_the_end)
                while answer is None or not going_on.is_over(answer):
                    going_on.make_pair()
                    answer = going_on.answer()
                    if answer is not None:
                        progress.step(tell(answer))
    except KeyboardInterrupt:
        return Outcome(directory, answer, interrupted=True)
    return Outcome(directory, answer)


def finished_pairs(directory: Path) -> list[Pair]:
    """Every pair of which both runs came to their end, in the order of time.

    Raises:
        RecordError: a finished run cannot be read.
    """
    halves: dict[int, dict[str, Run]] = {}
    for manifest in sorted((directory / "pairs").glob(f"*/{MANIFEST_FILE}")):
        if manifest.parent.is_symlink():
            continue
        run = _read(manifest.parent)
        tags = run.record.manifest.get("tags") or {}
        if run.status == "finished" and {"pair", "side"} <= tags.keys():
            halves.setdefault(int(tags["pair"]), {})[tags["side"]] = run
    return [
        Pair(number, both["baseline"], both["contender"])
        for number, both in sorted(halves.items())
        if len(both) == len(SIDES)
    ]


def _read(directory: Path) -> Run:
    try:
        return Run.read(directory)
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


class _GoingOn:
    """An experiment, its environments and what was finished."""

    def __init__(
        self, directory: Path, experiment: Experiment, progress: Progress, pairs: list[Pair]
    ) -> None:
        self._directory = directory
        self._experiment = experiment
        self._progress = progress
        self._pairs = pairs
        self._opened: dict[SideName, RunEnvironment] = {}

    def answer(self) -> UpgradeAnswer | None:
        """What all pairs say; None: there is none."""
        if not self._pairs:
            return None
        asked = self._experiment
        prices = prices_for(self._pairs[0].baseline)
        return upgrade_answer(
            self._pairs,
            looks=asked.looks,
            margin=asked.margin,
            prices=prices,
            meant_to_differ=asked.meant_to_differ,
        )

    def is_over(self, answer: UpgradeAnswer) -> bool:
        """Whether no more pairs are to be made."""
        asked = self._experiment
        most = round(asked.pairs * (1 + _MORE_PAIRS))
        refused = answer.comparison.verdict == "refused" and answer.pairs > 0
        looked = answer.pairs >= asked.looks.first and answer.is_decided
        return looked or refused or answer.pairs >= asked.pairs or len(self._pairs) >= most

    def open(self, until_the_end: ExitStack) -> None:
        """Bring both environments up, and let either answer a few calls."""
        asked = self._experiment
        if not asked.virtual_time:
            for side in SIDES:
                scenario = check_scenario(asked.sides[side], origin=side)
                self._progress.step(f"The {side}: {_what(scenario)}")
                environment = open_environment(scenario, self._progress, Phases())
                self._opened[side] = until_the_end.enter_context(environment)
        self._progress.step("A few calls to either, to warm up and to choose the loads")
        demands_s = [self._pilot(side) for side in SIDES]
        if not asked.stages:
            scenario = check_scenario(asked.sides["baseline"], origin="baseline")
            stages = tuple(_stages(scenario, demands_s))
            self._experiment = asked.model_copy(update={"stages": stages})
            _save(self._experiment, self._directory)
        seconds = sum(stage.duration_s for stage in self._experiment.stages)
        self._progress.step(
            f"At most {asked.pairs} pairs of runs, {2 * asked.pairs * seconds / 60:.0f} minutes of "
            "load; it ends earlier when the answer is certain"
        )

    def _pilot(self, side: SideName) -> float | None:
        """Demand of the mix, None if it cannot be told of so few calls."""
        asked = self._experiment
        scenario = check_scenario(asked.sides[side], origin=side)
        demand_s = _typical_demand_s(scenario)
        pilot = Stage(
            name="pilot",
            rate_per_s=_rate(scenario, _PILOT_LOAD, demand_s),
            duration_s=max(15.0, 8 * _period_s(scenario)),
        )
        run = self._run(side, (pilot,), asked.seed, "pilot", {"side": side})
        failed = len(run.calls) - int(run.calls.outcome.are("ok").sum())
        if failed > _MOST_FAILED * len(run.calls):
            outcomes = ", ".join(run.calls.outcome.counts())
            raise EnvironmentStartError(
                f"The {side} failed {failed} of {len(run.calls)} calls of its pilot ({outcomes}): "
                f"see {run.record.directory}{self._logs(side)}."
            )
        return run.demand.mix_s.value if run.demand else None

    def make_pair(self) -> None:
        """Run both sides, in the order of the lot.

        Raises:
            KeyboardInterrupt: a run was interrupted.
            EnvironmentStartError: a run failed.
        """
        asked = self._experiment
        number = max((pair.number for pair in self._pairs), default=0) + 1
        half: dict[SideName, Run] = {}
        for side in asked.order(number):
            tags = {"pair": str(number), "side": side}
            self._progress.step(f"Pair {number}: {side}")
            half[side] = self._run(side, asked.stages, asked.seed + number, "pairs", tags)
        pair = Pair(number, half["baseline"], half["contender"])
        self._pairs.append(pair)
        if doubt_of(pair):
            self._progress.step(f"Pair {number} was disturbed and does not count")

    def _run(
        self,
        side: SideName,
        stages: tuple[Stage, ...],
        seed: int,
        folder: str,
        tags: Mapping[str, str],
    ) -> Run:
        asked = self._experiment
        given: dict[str, Any] = {
            "scenario_file": Path(asked.scenario_file),
            "runs_directory": self._directory / folder,
            "tags": tags,
            "progress": _OfOneRun(self._progress, ", ".join(f"{k} {v}" for k, v in tags.items())),
        }
        scenario = asked.scenario(side, stages, seed)
        if asked.virtual_time:
            now_s = datetime.now(UTC).timestamp()
            run = _read(run_in_virtual_time(scenario, started_at_s=now_s, **given))
        else:
            run = _read(run_scenario(scenario, opened=self._opened[side], **given))
        if run.status == "interrupted":
            raise KeyboardInterrupt
        if run.status != "finished":
            raise EnvironmentStartError(
                f"A run of the {side} ended as '{run.status}'{_why(run)}: see "
                f"{run.record.directory}{self._logs(side)}."
            )
        return run

    def _logs(self, side: SideName) -> str:
        opened = self._opened.get(side)
        return f" and the logs in {opened.logs}" if opened and opened.logs else ""


def _why(run: Run) -> str:
    reasons = [str(event["reason"]) for event in run.record.events if event["kind"] == "aborted"]
    return f", {reasons[-1].rstrip('.')}" if reasons else ""


def prices_for(run: Run) -> Prices | None:
    """What a further webserver of a run's class costs, of the smallest that scales if it has none.

    None: not known.
    """
    environment = run.setting.environment
    name = str(environment.get("environment_class") or SMALLEST_THAT_SCALES)
    tables = load_prices()
    table = next((t for t in tables if t.region == environment.get("region")), tables[0])
    price = table.classes.get(name)
    if price is None or price.webserver_per_h is None:
        return None
    return Prices(name, table.region, table.as_of, price.webserver_per_h)


def _what(scenario: Scenario) -> str:
    settings = scenario.environment
    if isinstance(settings, AwsSettings):
        return f"environment {settings.name}"
    return f"{'' if isinstance(settings, LocalSettings) else 'simulated '}Airflow " + (
        settings.airflow_version
    )


def _period_s(scenario: Scenario) -> float:
    settings = scenario.environment
    if isinstance(settings, AwsSettings):
        return settings.metric_period_s
    return settings.metrics.period_s


def _stages(scenario: Scenario, demands_s: list[float | None]) -> Iterator[Stage]:
    """The stages of every run; see the module's docstring."""
    dearer = max((demand for demand in demands_s if demand), default=None)
    typical_s = _typical_demand_s(scenario)
    factor = (dearer or typical_s) / typical_s
    period_s = _period_s(scenario)
    first, last = _MIX_LOADS
    mix = {
        name: Stage(
            name=name,
            rate_per_s=_rate(scenario, load, typical_s * factor),
            duration_s=max(20.0, 5 * period_s),
            warmup_s=2.0,
        )
        for name, load in _MIX_LOADS.items()
    }
    yield mix[first]
    for label, choice in scenario.traffic.mix.items():
        yield Stage(
            name=label,
            operation=label,
            rate_per_s=_rate(
                scenario, _OPERATION_LOAD, SIMULATED_DEMANDS_S[choice.operation] * factor
            ),
            duration_s=max(8.0, 3 * period_s),
            warmup_s=1.0,
        )
    yield mix[last]


def _typical_demand_s(scenario: Scenario) -> float:
    """Of the mix, as usual on one server core."""
    mix = scenario.traffic.mix.values()
    total = sum(choice.weight * SIMULATED_DEMANDS_S[choice.operation] for choice in mix)
    return total / sum(scenario.traffic.weights)


def _rate(scenario: Scenario, load: float, demand_s: float) -> float:
    """Calls per second that make all webservers as busy, to two digits and no more than allowed."""
    settings = scenario.environment
    if isinstance(settings, AwsSettings):
        cpus = (settings.webserver_cpu or _FEWEST_CPUS_ON_AWS) * FEWEST_WEBSERVERS
    elif isinstance(settings, LocalSettings):
        cpus = settings.webserver_cpu * settings.min_webservers
    else:
        cpus = settings.cores * settings.min_webservers
    rate_per_s = float(f"{load * cpus / demand_s:.2g}")
    return min(rate_per_s, scenario.limits.max_rate_per_s)


class _OfOneRun:
    """Progress of one of many runs: its steps do not stay."""

    def __init__(self, progress: Progress, which: str) -> None:
        self._progress = progress
        self._which = which

    def step(self, text: str) -> None:
        """As a line that is replaced."""
        self._progress.count(f"{self._which}: {text}")

    def note(self, text: str) -> None:
        """Nothing: it is in the record of the run, and the next run would say it again."""

    def recording(self, directory: Path) -> None:
        """As it is."""
        self._progress.recording(directory)

    def load(self, status: LoadStatus) -> None:
        """As it is."""
        self._progress.load(status)

    def count(self, text: str) -> None:
        """As a line that is replaced."""
        self._progress.count(f"{self._which}: {text}")
