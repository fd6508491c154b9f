"""The report of one run as a document: its sections in the order in which they are read.

A section is one function that takes the run and gives a `Section`, or None where there is nothing
to show; `SECTIONS` names them all.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from mwaa_headroom.analysis.report import run_tables, run_text, words
from mwaa_headroom.analysis.report.charts.planning import sizing_of_run
from mwaa_headroom.analysis.report.charts.rows import demand_of_operations
from mwaa_headroom.analysis.report.charts.stages import throughput_latency
from mwaa_headroom.analysis.report.charts.timeline import timeline
from mwaa_headroom.analysis.report.document import (
    Block,
    Bullets,
    Case,
    Document,
    Figure,
    Hint,
    Section,
    Status,
    Terms,
    Text,
    Ticks,
)
from mwaa_headroom.analysis.report.plots.scale_out import draw_scale_out
from mwaa_headroom.analysis.report.plots.sizing import draw_demand, draw_sizing
from mwaa_headroom.analysis.report.plots.stages import draw_errors, draw_throughput_latency
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.run_findings import findings, reasons
from mwaa_headroom.analysis.report.run_tables import stage_name, stage_verdict
from mwaa_headroom.analysis.report.sentences import told, told_each
from mwaa_headroom.analysis.report.sentences.run import verdict_sentence
from mwaa_headroom.analysis.results import RunAnalysis, SloResult, StageStats
from mwaa_headroom.analysis.run import Run

PICTURES: Final = ("timeline", "throughput_latency", "errors", "sizing", "demand", "scale_out")
_STATUS_OF_EXIT: Final[dict[int, Status]] = {0: "good", 3: "bad"}
_MOST_FINDINGS: Final = 4  # of the brief form
_MOST_OPEN_STEPS: Final = 3


def run_document(run: Run) -> Document:
    """The report of one run; its figures are drawn when they are rendered."""
    analysis = run.analysis
    found = (section(run) for section in SECTIONS)
    return Document(
        kind="report",
        title=analysis.scenario_name,
        headline=run_text.headline(analysis),
        about=run_text.about(analysis),
        sentence=verdict_sentence(analysis),
        status=_STATUS_OF_EXIT.get(analysis.verdict.exit_code, "unclear"),
        sections=tuple(section for section in found if section is not None),
        result=analysis,
        cases=tuple(_cases(analysis)),
        properties={
            "run_id": analysis.run_id,
            "workload": analysis.workload,
            "transport": analysis.transport,
            "load_generator": run_text.generator(analysis.generator),
            **{w.code: told(w) for w in analysis.warnings if w.code == "run.left_behind"},
            **{f"recovery_{r.after_stage + 1}": told(r.explanation) for r in analysis.recoveries},
        },
        started_at_s=analysis.started_at_s,
        length_s=_length_s(analysis.started_at_s, analysis.ended_at_s),
        facts={
            "mix": ", ".join(f"{name} {words.share(part)}" for name, part in analysis.mix.items()),
            **analysis.environment,
            **{f"{name} version": version for name, version in analysis.versions.items()},
        },
        pictures=PICTURES,
    )


def _texts(sentences: Sequence[str]) -> tuple[Text, ...]:
    return tuple(map(Text, sentences))


def _why(run: Run) -> Section | None:
    texts = _texts(reasons(run.analysis))
    if run_text.is_virtual(run.analysis):
        texts = (*texts, Text("Simulated in virtual time: no call was really sent."))
    return Section("Why", texts) if texts else None


def _slo(run: Run) -> Section | None:
    """The lines that the answer rests on, and where they were judged."""
    analysis, stage = run.analysis, decisive_stage(run.analysis)
    is_whole = analysis.status == "finished"
    scope = "whole run" if is_whole else "what was sent before the run was cut short"
    lines = analysis.slo
    if analysis.question != "check" and stage is not None:
        is_highest = bool(analysis.capacity and stage.index == analysis.capacity.highest_stage)
        why = "the highest that met it" if is_highest else _why_stopped(stage)
        scope = f"stage {stage_name(stage)}, {why}"
        lines = analysis.slo if is_highest and analysis.slo else stage.slo
    ticks = tuple((line.met, line.slo.text, run_text.observed(line)) for line in lines)
    return Section(f"SLO ({scope})", (Ticks(ticks),), brief=True) if ticks else None


def decisive_stage(analysis: RunAnalysis) -> StageStats | None:
    """The stage the answer rests on: the highest that met the SLO, or the one that broke it.

    A check has no highest stage: the first that broke the SLO counts, else the one with most calls.
    """
    capacity = analysis.capacity
    if capacity:
        for index in (capacity.highest_stage, capacity.stopped_by_stage):
            found = [stage for stage in analysis.stages if stage.index == index]
            if found:
                return found[0]
    sent = [stage for stage in analysis.stages if stage.sent]
    failed = [stage for stage in sent if stage_verdict(stage) is False]
    if failed:
        return failed[0]
    return max(sent, key=lambda stage: stage.achieved_per_s, default=None)


def _why_stopped(stage: StageStats) -> str:
    if not stage.generator_ok:
        return "where the load generator was the limit"
    if stage.failed_before:
        return "where calls failed before the environment"
    if stage.host_disturbed:
        return "where this host had other things to do"
    return "where it broke" if stage.met_slo is False else "where the search stopped"


def _expectations(run: Run) -> Section | None:
    ticks = tuple((each.met, each.name, each.detail) for each in run.analysis.expectations)
    return Section("Expectations", (Ticks(ticks),), brief=True) if ticks else None


def _what_happened(run: Run) -> Section:
    hint = (
        "All panels share one time axis: drag to zoom, double click to see all again, click a name "
        "to switch it off. Look where latency crosses the dashed line, then straight down: errors "
        "by layer say who failed, CPU and the number of webservers say why. Grey is warm-up, which "
        "is not judged."
    )
    alt = "Timeline of load, latency, errors, webserver CPU and webserver count"
    figure = Figure(
        "timeline",
        alt,
        lambda: draw_timeline(run.analysis, run.calls),
        lambda: timeline(run.analysis, run.calls),
    )
    return Section("What happened", (Hint(hint), figure))


def _capacity(run: Run) -> Section:
    hint = Hint(
        "One point per stage. Capacity ends where latency leaves the flat part: more load then "
        "gives more waiting, not more throughput."
    )
    alt = "Latency of each stage against the rate achieved in it"
    figure = Figure(
        "throughput_latency",
        alt,
        lambda: draw_throughput_latency(run.analysis),
        lambda: throughput_latency(run.analysis),
    )
    capacity = run.analysis.capacity
    sentences = (run_text.capacity_sentence(capacity), run_text.chances_sentence(capacity))
    return Section("Capacity", (*_texts([each for each in sentences if each]), hint, figure))


def _stages(run: Run) -> Section:
    stages = run.analysis.stages
    if not stages:
        return Section("Stages", (Text("No stage was measured."),), brief=True)
    table = run_tables.stage_table(stages, run.analysis.started_at_s)
    remarks = [
        f"Stage {stage_name(stage)} met the SLO but is undecided: "
        f"{words.lowered(told(stage.trial_reason))}"
        for stage in stages
        if stage_verdict(stage) and stage.trial == "undecided" and stage.trial_reason
    ]
    if any(stage.rate_is_mean for stage in stages):
        remarks.insert(0, "~ is the mean of a rate that was not constant: of a ramp or a trace.")
    hint = Hint(
        "Warm-up is left out. Offered counts arrivals, achieved calls that were sent, goodput "
        "calls that ended ok and in time. A trial passes if the SLO held and the latency was not "
        "still rising."
    )
    title = "Stages (latency from the intended start)"
    return Section(title, (hint, table, *_texts(remarks)), brief=True)


def _generator(run: Run) -> Section:
    health = run.analysis.generator
    verdict = run_text.generator(health)
    table = run_tables.process_table(health)
    blocks: tuple[Block, ...] = (
        Text(f"{verdict[0].upper()}{verdict[1:]}.", "plain" if health.ok else "unclear"),
        Bullets(told_each(health.reasons)),
        Hint(
            "Past a limit, what a stage shows may be the generator's own doing, and the stage is "
            "neither a pass nor a fail."
        ),
        *([table] if table else []),
    )
    return Section("Load generator", blocks, folded=health.ok)


def _lag(run: Run) -> Section | None:
    table = run_tables.lag_table(run.calls, run.analysis.started_at_s)
    title = "Lag over time (how late calls were sent)"
    return Section(title, (table,), folded=True) if table else None


def _latency(run: Run) -> Section | None:
    stage = decisive_stage(run.analysis)
    known = stage and [e for e in stage.latency_s.values() if words.is_known(e.value)]
    if not stage or not known:
        return None
    hint = Hint(
        "If latency is far above service time, the load generator was late, not the environment."
    )
    blocks: list[Block] = [hint, run_tables.latency_table(stage)]
    if len(run.analysis.stages) > 1:
        blocks.append(run_tables.stage_latency_table(run.analysis.stages))
    interval = f"{words.share(known[0].confidence)} interval"
    return Section(f"Latency of stage {stage_name(stage)} ({interval})", tuple(blocks), folded=True)


def _operations(run: Run) -> Section | None:
    stage = decisive_stage(run.analysis)
    if not stage or not stage.operations:
        return None
    title = f"Operations of stage {stage_name(stage)}"
    return Section(title, (run_tables.operation_table(stage),), folded=True)


def _sizing(run: Run) -> Section | None:
    sizing = run.analysis.sizing
    if sizing is None:
        return None
    goal = words.share(sizing.utilisation_target)
    texts = _texts(told_each(each for each in (sizing.explanation, sizing.deciding) if each))
    alt = "Webservers needed against the rate of calls"
    blocks: tuple[Block, ...] = (
        Hint(
            f"Webservers needed so that at most {goal} of their CPU is used, from the CPU time one "
            "call costs. A first recommendation: confirm the target with a run at that rate."
        ),
        Figure(
            "sizing",
            alt,
            lambda: draw_sizing(sizing, run.analysis),
            lambda: sizing_of_run(sizing, run.analysis),
        ),
        *([run_tables.sizing_table(sizing)] if sizing.rows else []),
        *texts,
    )
    title = f"Webservers needed (at most {goal} of their CPU)"
    return Section(title, blocks, brief=True, brief_blocks=texts)


def _demand(run: Run) -> Section | None:
    demand = run.analysis.demand
    if demand is None:
        return None
    background = words.number_estimate(demand.background_cpu_per_webserver)
    blocks: tuple[Block, ...] = (
        Hint(
            "Webserver CPU time of one call, found from how CPU follows the calls. Beside the "
            f"calls each webserver uses {background} CPUs."
        ),
        Figure(
            "demand",
            "Webserver CPU time per call of each operation",
            lambda: draw_demand(demand),
            lambda: demand_of_operations(demand),
        ),
        run_tables.demand_table(demand, run.analysis.mix),
        *_texts([told(demand.refusal)] if demand.refusal else []),
    )
    return Section("Service demand (webserver CPU time one call costs)", blocks, folded=True)


def _recovery(run: Run) -> Section | None:
    if not run.analysis.recoveries:
        return None
    hint = Hint(
        "After a stage that broke the SLO, a light load went on. An overload that outlives its "
        "load needs more than fewer callers: a restart, or a larger connection pool."
    )
    texts = _texts([told(result.explanation) for result in run.analysis.recoveries])
    return Section("Recovery", (hint, *texts), folded=True)


def _scaling(run: Run) -> Section | None:
    """Every change of the webserver count, and how well the count followed the need."""
    events, started_at_s = run.analysis.scaling, run.analysis.started_at_s
    blocks: list[Block] = []
    for event in events:
        blocks.append(Text(run_text.scaling_sentence(event, started_at_s)))
        blocks += _texts([cost] if (cost := run_text.cost_sentence(event)) else [])
        folded = len(events) > _MOST_OPEN_STEPS
        table = run_tables.steps_table(event, started_at_s, folded=folded)
        blocks += [table] if table else []
    if events:
        blocks.append(Hint("Delays are counted from the first moment of each sentence."))
    blocks += _texts(tuple(run_text.elasticity(run.analysis.elasticity)))
    if not blocks:
        return None
    alt = "Webservers, load and slow calls around each scale-out"
    figure = Figure("scale_out", alt, lambda: draw_scale_out(run.analysis, run.calls, run.good))
    return Section("Scaling", (figure, *blocks), folded=True)


def _by_webservers(run: Run) -> Section | None:
    rows = run.analysis.by_webservers
    if not rows:
        return None
    hint = Hint(
        "Of the metric periods inside stages, warm-up left out, in which the count did not change."
    )
    return Section("By webserver count", (hint, run_tables.count_table(rows)), folded=True)


def _webservers(run: Run) -> Section | None:
    table = run_tables.webserver_table(run.analysis.stages)
    return Section("Webservers", (table,), folded=True) if table else None


def _errors(run: Run) -> Section | None:
    stages = run.analysis.stages
    if not stages:
        return None
    nothing = "No judged call failed." if any(s.sent for s in stages) else "No call was sent."
    blocks = (
        Hint(
            "The layer is who is to blame: caller (permission, request), service (throttle, time "
            "limit), airflow (its own status codes), network, generator (arrivals that were not "
            "sent)."
        ),
        Figure(
            "errors",
            "Share of failed calls per stage and layer",
            lambda: draw_errors(run.analysis),
        ),
        run_tables.error_table(stages) or Text(nothing),
    )
    return Section("Errors by layer", blocks, folded=True)


def _retries(run: Run) -> Section | None:
    retries = run.analysis.retries
    if retries is None:
        return None
    title = f"Retries of the client ({retries.mode})"
    return Section(title, _texts(tuple(run_text.retries(retries))), folded=True)


def _truth(run: Run) -> Section | None:
    checks = run.analysis.truth
    if not checks:
        return None
    hint = Hint(
        "These webservers were simulated, so what the estimates should have found is known."
    )
    sentence = run_text.truth_sentence(checks)
    table = run_tables.truth_table(checks)
    return Section(
        "Known truth", (hint, table, *_texts([sentence] if sentence else [])), folded=True
    )


def _findings(run: Run) -> Section | None:
    """Everything a careful reader should know; briefly, what concerns the answer."""
    concerning, others = findings(run.analysis)
    every = (*concerning, *others)
    left = told_each(w for w in run.analysis.warnings if w.code == "run.left_behind")
    first = (*left, *reasons(run.analysis), *told_each(run.analysis.generator.reasons))
    leading = tuple(dict.fromkeys((*first, *concerning)))[:_MOST_FINDINGS]
    untold = len({*every} - {*leading})
    brief = (*leading, *([_untold(untold, leading)] if untold else []))
    if not every and not brief:
        return None
    return Section("Findings", (Bullets(every),), brief=True, brief_blocks=(Bullets(brief),))


def _untold(count: int, told: Sequence[str]) -> str:
    return f"and {count} more: --verbose" if told else f"{words.counted(count, 'note')}: --verbose"


def _terms(_run: Run) -> Section:
    return Section("What the words mean", (Terms(_TERMS),), folded=True)


SECTIONS: Final = (
    _why,
    _slo,
    _expectations,
    _what_happened,
    _stages,
    _capacity,
    _sizing,
    _generator,
    _lag,
    _latency,
    _operations,
    _demand,
    _recovery,
    _scaling,
    _by_webservers,
    _webservers,
    _errors,
    _retries,
    _truth,
    _findings,
    _terms,
)

_TERMS: Final = (
    (
        "Latency",
        "From the moment a call should have started to its end. Arrivals do not wait for answers, "
        "so time spent queueing counts. Calls that ended ok, or were cut at a time limit, are in "
        "it.",
    ),
    ("Service time", "From the moment the call was really sent to its end."),
    (
        "Lag",
        "How late the load generator sent a call: its own fault, never the environment's.",
    ),
    (
        "Open and closed",
        "Open arrivals do not wait for answers, as independent callers do not. In a closed "
        "workload each user waits for its answer first, so slow answers mean less load.",
    ),
    (
        "Offered, achieved, goodput",
        "Arrivals per second; calls sent per second; calls per second that ended ok and within "
        "the latency objective.",
    ),
    (
        "Interval",
        "The range the true value is likely in, at 95 % unless said otherwise. Within one run "
        "calls depend on each other, so intervals are somewhat too narrow.",
    ),
    (
        "Capacity",
        "The rate at which the SLO breaks, on the number of webservers it is told for.",
    ),
    (
        "Trial",
        "One load on one number of webservers: a pass if the SLO held and the latency had "
        "settled, a fail if a line of the SLO broke, undecided otherwise.",
    ),
    ("Service demand", "CPU time that one call costs the webservers."),
    ("Webserver", "One container that answers the Airflow REST API of the environment."),
    ('"-"', "Not known, or refused because there was too little data; the findings say why."),
)


def _cases(analysis: RunAnalysis) -> Iterator[Case]:
    """The verdict for a CI server, red exactly when the exit code is.

    One case per SLO line and judged scope, one per expectation, one for the load generator, one for
    the verdict. A broken SLO line is a failure only when it is the reason for exit code 3: while
    searching for the capacity a stage must break, and is skipped with what was observed. What could
    not be answered is an error, and so is the load generator's share in that.
    """
    is_red = analysis.verdict.exit_code == 3
    run_s = _length_s(analysis.started_at_s, analysis.ended_at_s)
    if analysis.question == "check":
        judged = all(stage.speaks for stage in analysis.stages)
        for line in analysis.slo:
            yield _slo_case("whole run", line, run_s, is_red=is_red and judged)
    for stage in analysis.stages:
        stage_s = _length_s(stage.started_at_s, stage.ended_at_s)
        for line in stage.slo:
            scope = f"stage {stage_name(stage)}"
            yield _slo_case(scope, line, stage_s, is_red=is_red and stage.speaks)
    for each in analysis.expectations:
        yield Case("expectations", each.name, "passed" if each.met else "failure", each.detail)
    yield _generator_case(analysis, run_s)
    yield _verdict_case(analysis, run_s)


def _slo_case(scope: str, line: SloResult, time_s: float, *, is_red: bool) -> Case:
    seen = run_text.observed(line)
    if line.met is not False:
        return Case(scope, line.slo.text, "passed" if line.met else "skipped", seen, time_s)
    message = f"observed {seen}, wanted {line.slo.text}"
    result: Literal["failure", "skipped"] = "failure" if is_red else "skipped"
    return Case(scope, line.slo.text, result, message, time_s, failure_type="slo")


def _generator_case(analysis: RunAnalysis, time_s: float) -> Case:
    health = analysis.generator
    result: Literal["passed", "error", "skipped"] = "passed"
    if not health.ok:
        result = "error" if analysis.verdict.exit_code == 5 else "skipped"
    text = " ".join((f"{run_text.generator(health)}.", *told_each(health.reasons)))
    return Case("load generator", "limits", result, text, time_s)


def _verdict_case(analysis: RunAnalysis, time_s: float) -> Case:
    verdict = analysis.verdict
    results: dict[int, Literal["passed", "failure"]] = {0: "passed", 3: "failure"}
    text = " ".join((verdict_sentence(analysis), *told_each(verdict.reasons)))
    return Case("verdict", verdict.question, results.get(verdict.exit_code, "error"), text, time_s)


def _length_s(from_s: float, to_s: float) -> float:
    length_s = to_s - from_s
    return max(length_s, 0.0) if words.is_known(length_s) else 0.0
