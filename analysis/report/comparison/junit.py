"""A comparison as JUnit XML: one test case per gate metric, and one for the verdict.

A regression is a failure; what could not be told, and a refusal, is an error; informational metrics
are left out. So a CI server is red exactly when the command's exit code is not 0.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from mwaa_headroom.analysis.comparison.results import Comparison, MetricComparison
from mwaa_headroom.analysis.report.comparison import tables
from mwaa_headroom.analysis.report.junit import without_controls

_ELEMENT: Final = {"regression": "failure", "inconclusive": "error", "refused": "error"}


def comparison_junit_xml(comparison: Comparison) -> str:
    """The whole document, with its XML declaration."""
    cases = list(_cases(comparison))
    verdicts = [_ELEMENT.get(verdict) for _, _, verdict, _ in cases]
    counts = {
        "tests": str(len(cases)),
        "failures": str(verdicts.count("failure")),
        "errors": str(verdicts.count("error")),
        "skipped": "0",
    }
    suites = ET.Element("testsuites", {"name": "headroom", **counts})
    suite = ET.SubElement(suites, "testsuite", {"name": "comparison", **counts})
    properties = ET.SubElement(suite, "properties")
    for difference in comparison.meant_to_differ:
        value = "; ".join(f"{value} ({who})" for value, who in difference.values)
        ET.SubElement(
            properties, "property", {"name": difference.what, "value": without_controls(value)}
        )
    for scope, name, verdict, message in cases:
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": f"comparison.{scope}", "name": without_controls(name), "time": "0"},
        )
        element = _ELEMENT.get(verdict)
        if element is None:
            ET.SubElement(case, "system-out").text = without_controls(message)
        else:
            attributes = {"message": without_controls(message), "type": verdict}
            ET.SubElement(case, element, attributes)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _cases(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """Scope, name, verdict and message of every test case."""
    for each in comparison.gate:
        yield "gate", each.metric.name, each.verdict, _message(each)
    text = " ".join((comparison.sentence, *comparison.refusals[1:]))
    yield "verdict", "verdict", comparison.verdict, text


def _message(each: MetricComparison) -> str:
    metric = each.metric
    medians = [tables.metric_value(metric, side.value) for side in (each.baseline, each.contender)]
    text = f"{medians[0]} to {medians[1]}, change {tables.change(metric, each.change)}"
    return f"{text}. {each.reason}" if each.reason else text
