"""The test cases of a document as JUnit XML, for CI servers."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from mwaa_headroom.analysis.report import sending, story, words
from mwaa_headroom.analysis.report.document import Case, Document
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.sentences.verdict import verdict_sentence
from mwaa_headroom.analysis.report.tables import stage_name
from mwaa_headroom.analysis.results import RunAnalysis, SloResult


def render_junit(document: Document) -> str:
    """The whole XML document, with its declaration.

    A run's suite is named by its scenario, that of any other document by its kind.
    """
    cases = document.cases
    name = document.title if document.kind == "report" else document.kind
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.result == "failure" for case in cases)),
        "errors": str(sum(case.result == "error" for case in cases)),
        "skipped": str(sum(case.result == "skipped" for case in cases)),
        "time": f"{document.length_s:.3f}",
    }
    suites = _element(None, "testsuites", name="headroom", **counts)
    suite = _element(suites, "testsuite", name=name, **counts)
    if document.started_at_s is not None:
        started = datetime.fromtimestamp(document.started_at_s, UTC)
        suite.set("timestamp", started.strftime("%Y-%m-%dT%H:%M:%S"))
    properties = _element(suite, "properties")
    for key, value in document.properties.items():
        _element(properties, "property", name=key, value=value)
    for case in cases:
        _write_case(suite, case, name)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _write_case(suite: ET.Element, case: Case, suite_name: str) -> None:
    element = _element(
        suite,
        "testcase",
        name=case.name,
        classname=f"{suite_name}.{case.scope}",
        time=f"{case.time_s:.3f}",
    )
    if case.result == "passed":
        _element(element, "system-out").text = without_controls(case.message)
    elif case.result == "skipped":
        _element(element, "skipped", message=case.message)
    else:
        failure_type = case.failure_type or case.scope.split(" ", maxsplit=1)[0]
        _element(element, case.result, message=case.message, type=failure_type)


def _element(parent: ET.Element | None, tag: str, **attributes: str) -> ET.Element:
    printable = {key: without_controls(value) for key, value in attributes.items()}
    return ET.Element(tag, printable) if parent is None else ET.SubElement(parent, tag, printable)


def without_controls(text: str) -> str:
    """`text` without the control characters that XML forbids."""
    return _NOT_XML.sub("?", text)


# --- The run's report of before, until it is a `Document` ---


_EXIT_SLO_NOT_MET: Final = 3
_EXIT_INCONCLUSIVE: Final = 5
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Case:
    scope: str
    name: str
    time_s: float
    result: Literal["passed", "failure", "error", "skipped"]
    message: str


def junit_xml(analysis: RunAnalysis) -> str:
    """The whole document, with its XML declaration."""
    cases = list(_cases(analysis))
    length_s = _length_s(analysis.started_at_s, analysis.ended_at_s)
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.result == "failure" for case in cases)),
        "errors": str(sum(case.result == "error" for case in cases)),
        "skipped": str(sum(case.result == "skipped" for case in cases)),
        "time": f"{length_s:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "headroom", **counts})
    started = datetime.fromtimestamp(analysis.started_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ET.SubElement(
        suites,
        "testsuite",
        {"name": without_controls(analysis.scenario_name), **counts, "timestamp": started},
    )
    properties = ET.SubElement(suite, "properties")
    about = {
        "run_id": analysis.run_id,
        "workload": analysis.workload,
        "transport": analysis.transport,
        "load_generator": sending.generator(analysis.generator),
    }
    about |= {
        f"recovery_{result.after_stage + 1}": told(result.explanation)
        for result in analysis.recoveries
    }
    for name, value in about.items():
        ET.SubElement(properties, "property", {"name": name, "value": without_controls(value)})
    for case in cases:
        _write(suite, case, analysis.scenario_name)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _cases(analysis: RunAnalysis) -> Iterator[_Case]:
    red = analysis.verdict.exit_code == _EXIT_SLO_NOT_MET
    run_s = _length_s(analysis.started_at_s, analysis.ended_at_s)
    if analysis.question == "check":
        judged = all(stage.generator_ok for stage in analysis.stages)
        for line in analysis.slo:
            yield _slo_case("whole run", line, run_s, red=red and judged)
    for stage in analysis.stages:
        stage_s = _length_s(stage.started_at_s, stage.ended_at_s)
        for line in stage.slo:
            yield _slo_case(
                f"stage {stage_name(stage)}", line, stage_s, red=red and stage.generator_ok
            )
    for expectation in analysis.expectations:
        result: Literal["passed", "failure"] = "passed" if expectation.met else "failure"
        yield _Case("expectations", expectation.name, 0.0, result, expectation.detail)
    yield _generator_case(analysis, run_s)
    yield _verdict_case(analysis, run_s)


def _slo_case(scope: str, line: SloResult, time_s: float, *, red: bool) -> _Case:
    observed = story.observed(line)
    if line.met:
        return _Case(scope, line.slo.text, time_s, "passed", observed)
    if line.met is None:
        return _Case(scope, line.slo.text, time_s, "skipped", observed)
    message = f"observed {observed}, wanted {line.slo.text}"
    return _Case(scope, line.slo.text, time_s, "failure" if red else "skipped", message)


def _generator_case(analysis: RunAnalysis, time_s: float) -> _Case:
    health = analysis.generator
    text = " ".join((f"{sending.generator(health)}.", *map(told, health.reasons)))
    if health.ok:
        return _Case("load generator", "limits", time_s, "passed", text)
    spoilt = analysis.verdict.exit_code == _EXIT_INCONCLUSIVE
    return _Case("load generator", "limits", time_s, "error" if spoilt else "skipped", text)


def _verdict_case(analysis: RunAnalysis, time_s: float) -> _Case:
    verdict = analysis.verdict
    text = " ".join((verdict_sentence(analysis), *map(told, verdict.reasons)))
    if verdict.exit_code == 0:
        return _Case("verdict", verdict.question, time_s, "passed", text)
    result: Literal["failure", "error"] = (
        "failure" if verdict.exit_code == _EXIT_SLO_NOT_MET else "error"
    )
    return _Case("verdict", verdict.question, time_s, result, text)


def _write(suite: ET.Element, case: _Case, scenario_name: str) -> None:
    element = ET.SubElement(
        suite,
        "testcase",
        {
            "name": without_controls(case.name),
            "classname": without_controls(f"{scenario_name}.{case.scope}"),
            "time": f"{case.time_s:.3f}",
        },
    )
    if case.result == "passed":
        ET.SubElement(element, "system-out").text = without_controls(case.message)
        return
    attributes = {"message": without_controls(case.message)}
    if case.result != "skipped":
        attributes["type"] = case.scope.split(" ", maxsplit=1)[0]
    ET.SubElement(element, case.result, attributes)


def _length_s(from_s: float, to_s: float) -> float:
    length_s = to_s - from_s
    return max(length_s, 0.0) if words.is_known(length_s) else 0.0
