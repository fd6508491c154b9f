"""Undoing what a run did to an environment that outlives it, at its end or at any later time."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.leftovers import (
    DAG_RUNS,
    PAUSED_STATES,
    VARIABLES,
    created_events,
    failed_to_undo,
    triggers,
)
from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.run_files import run_file
from mwaa_headroom.analysis.schema import EVENTS_FILE
from mwaa_headroom.harness.aws.cleanup import (
    Created,
    Finder,
    Undoing,
    cleaning_api,
    dags_triggered,
    deletes_in_bulk,
    finder,
    list_runs,
    still_there,
    undo,
    undoing_s,
)
from mwaa_headroom.harness.aws.clients import AwsClients, RestApi, make_clients
from mwaa_headroom.harness.aws.environment import (
    EnvironmentFacts,
    describe_environment,
    require_allowed,
)
from mwaa_headroom.harness.errors import EnvironmentAccessError, RecordError, UsageError
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.run.load_processes import SCENARIO_FILE
from mwaa_headroom.harness.scenario.load import check_scenario, load_scenario
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario
from mwaa_headroom.harness.traffic.operations import (
    ALL_DAGS,
    OUR_PREFIX,
    complete_parameters,
    run_id_prefix,
)

COLUMNS = ("arrival", "operation", "outcome")
LOOKING = "Looking for what was left"


def recorded(directory: Path) -> RunRecord:
    """As much of a run's record as says what it created; the run may still be going on."""
    return read_run(directory, COLUMNS)


def scenario_of(directory: Path) -> Scenario:
    """The scenario that a run carried out.

    Raises:
        RecordError: it cannot be read.
        ScenarioError: it is another version's.
    """
    path = directory / SCENARIO_FILE
    try:
        found = run_file(directory, SCENARIO_FILE)
        tree = json.loads(found.read_bytes()) if found else None
    except (RecordFormatError, OSError, ValueError) as exc:
        raise RecordError(f"'{path}' is damaged, so what its run did is not known.") from exc
    if tree is None:
        raise RecordError(f"'{path}' is missing, so what its run did is not known.")
    return check_scenario(tree, origin=str(path))


def created_by(record: RunRecord, scenario: Scenario) -> Created:
    """What a run created, by its record, and what of that is not known to be undone.

    The former value of a variable is in no record: such a variable is left out.
    """
    created = Created()
    prefix = run_id_prefix(record.manifest["run_id"])
    for event in created_events(record, DAG_RUNS):
        created.add_dag_run(event["dag_id"], event["name"])
    for label, rows in triggers(record).items():
        arrivals = record.requests.column("arrival").filter(rows).to_pylist()
        choice = scenario.traffic.mix[label]
        dag_id = complete_parameters(choice.operation, choice.parameters)["dag_id"]
        triggered = tuple(f"{prefix}{arrival}" for arrival in arrivals)
        created.dag_runs[dag_id] = (*created.dag_runs.get(dag_id, ()), *triggered)
    if failed_to_undo(record, VARIABLES) != 0:
        for event in created_events(record, VARIABLES):
            if not event["existed"]:
                created.add_variable(event["name"], None)
    if failed_to_undo(record, PAUSED_STATES) != 0:
        for event in created_events(record, PAUSED_STATES):
            created.add_paused(event["name"], event["was_paused"])
    return created


def undo_and_record(
    api: RestApi,
    found: Created,
    find: Finder,
    events: EventLog | None,
    tell: Callable[[str], None],
    *,
    in_bulk: bool,
) -> Undoing:
    """Undo what was found; however it ends, the record says how far it came.

    Args:
        api: of the environment.
        found: what there is to undo.
        find: DAG runs of the same sort, again.
        events: of the run that created it; None: it is of several, or unknown.
        tell: is told, after every thing, how far it has come.
        in_bulk: see `harness.aws.cleanup.deletes_in_bulk`.
    """
    undoing = Undoing()
    total = sum(found.counts().values())

    def tell_how_far(undoing: Undoing) -> None:
        left = undoing.left.total()
        to_go = duration_text(undoing_s(undoing.left, api.rate_per_s, in_bulk=in_bulk))
        tell(f"{total - left} of {total} undone, about {to_go} to go")

    try:
        undo(api, found, undoing, tell_how_far, find, in_bulk=in_bulk)
    finally:  # Ctrl-C too
        if events is not None:
            for what in (DAG_RUNS, VARIABLES, PAUSED_STATES):
                events.write(
                    "cleaned_up",
                    source="harness",
                    time_s=time.time(),
                    what=what,
                    count=undoing.done[what],
                    failed=undoing.left[what],
                    answers=sorted(answer for answer in undoing.answers if answer is not None),
                )
    return undoing


def duration_text(duration_s: float) -> str:
    """A duration for people."""
    return f"{duration_s / 60:.0f} min" if duration_s > 90 else f"{max(duration_s, 1):.0f} s"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found in an environment, and how to undo it."""

    arn: str
    api: RestApi
    found: Created
    find: Finder
    in_bulk: bool
    directory: Path | None = None  # of the run whose record is to know; None: there is none
    overwritten: tuple[str, ...] = ()  # variables of which nobody knows the former value

    @property
    def duration_s(self) -> float:
        """How long undoing takes, at least."""
        return undoing_s(self.found.counts(), self.api.rate_per_s, in_bulk=self.in_bulk)

    def undo(self, tell: Callable[[str], None]) -> Undoing:
        """See `undo_and_record`."""
        events = None if self.directory is None else EventLog(self.directory / EVENTS_FILE)
        try:
            return undo_and_record(
                self.api, self.found, self.find, events, tell, in_bulk=self.in_bulk
            )
        finally:
            if events is not None:
                events.close()


def left_by_run(directory: Path, tell: Callable[[str], None] = lambda _: None) -> Leftovers:
    """What one run left.

    Args:
        directory: of the run.
        tell: is told when the environment is asked.

    Raises:
        HeadroomError: there is no such run, its environment is no longer there or may not be
            touched, or AWS refuses.
    """
    directory = directory.resolve()
    scenario = scenario_of(directory)
    if scenario.environment.kind != "aws":
        raise UsageError("That run had an environment of its own, which went with it.")
    record = _record_of(directory)
    tell(LOOKING)
    clients, facts = _allowed(scenario)
    api = cleaning_api(clients, scenario)
    find = finder(api, record.manifest["run_id"])
    created = created_by(record, scenario)
    runs = still_there(find, dags_triggered(scenario), created.dag_runs)
    overwritten = tuple(
        event["name"] for event in created_events(record, VARIABLES) if event["existed"]
    )
    return Leftovers(
        facts.arn,
        api,
        replace(created, dag_runs=runs),
        find,
        deletes_in_bulk(facts.airflow_version),
        directory,
        overwritten if failed_to_undo(record, VARIABLES) != 0 else (),
    )


def left_by_prefix(
    scenario_file: Path,
    prefix: str,
    variables: Mapping[str, str],
    tell: Callable[[str], None] = lambda _: None,
) -> Leftovers:
    """DAG runs that any of our runs left in the DAGs of a scenario's mix.

    Args:
        scenario_file: says which environment and which DAGs.
        prefix: of the ids of the DAG runs; begins with `OUR_PREFIX`.
        variables: of the process, which may override keys of the scenario.
        tell: is told when the environment is asked.

    Raises:
        HeadroomError: the scenario is wrong, the runs cannot be listed, or AWS refuses.
    """
    scenario = load_scenario(scenario_file, variables=variables)
    if not prefix.startswith(OUR_PREFIX):
        raise UsageError(f"--prefix must begin with {OUR_PREFIX}, as the ids of our DAG runs do.")
    tell(LOOKING)
    clients, facts = _allowed(scenario)
    api = cleaning_api(clients, scenario)
    find = partial(list_runs, api, prefix=prefix)
    found = {}
    mix = scenario.traffic.mix.values()
    uses = (complete_parameters(one.operation, one.parameters).get("dag_id") for one in mix)
    for dag_id in sorted({dag_id for dag_id in uses if dag_id not in (None, ALL_DAGS)}):
        listed = find(dag_id)
        if listed is None:
            raise EnvironmentAccessError(
                f"The runs of DAG '{dag_id}' cannot be listed: see whether the Airflow role may."
            )
        if listed:
            found[dag_id] = listed
    in_bulk = deletes_in_bulk(facts.airflow_version)
    return Leftovers(facts.arn, api, Created(dag_runs=found), find, in_bulk)


def _record_of(directory: Path) -> RunRecord:
    try:
        return recorded(directory)
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


def _allowed(scenario: Scenario) -> tuple[AwsClients, EnvironmentFacts]:
    settings = scenario.environment
    profile = settings.profile if isinstance(settings, AwsSettings) else None
    clients = make_clients(environment=settings.name, region=settings.region, profile=profile)
    facts = describe_environment(clients, settings.name)
    require_allowed(scenario, facts.arn, endpoint_is_loopback=clients.endpoint_is_loopback)
    return clients, facts
