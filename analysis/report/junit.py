"""The test cases of a document as JUnit XML, for CI servers."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Final

from mwaa_headroom.analysis.report.document import Case, Document

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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
    # Of all suites together, Jenkins's schema knows no count of skipped ones.
    together = {key: value for key, value in counts.items() if key != "skipped"}
    suites = _element(None, "testsuites", name="headroom", **together)
    suite = _element(suites, "testsuite", name=name, **counts)
    if document.started_at_s is not None:
        started = datetime.fromtimestamp(document.started_at_s, UTC)
        suite.set("timestamp", started.strftime("%Y-%m-%dT%H:%M:%S"))
    if document.properties:
        properties = _element(suite, "properties")
        for key, value in document.properties.items():
            _element(properties, "property", name=key, value=value)
    for case in cases:
        _write(suite, case, name)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _write(suite: ET.Element, case: Case, suite_name: str) -> None:
    element = _element(
        suite,
        "testcase",
        name=case.name,
        classname=f"{suite_name}.{case.scope}",
        time=f"{case.time_s:.3f}",
    )
    if case.result == "passed":
        _element(element, "system-out").text = _printable(case.message)
    elif case.result == "skipped":
        _element(element, "skipped", message=case.message)
    else:
        failure_type = case.failure_type or case.scope.split(" ", maxsplit=1)[0]
        _element(element, case.result, message=case.message, type=failure_type)


def _element(parent: ET.Element | None, tag: str, **attributes: str) -> ET.Element:
    printable = {key: _printable(value) for key, value in attributes.items()}
    return ET.Element(tag, printable) if parent is None else ET.SubElement(parent, tag, printable)


def _printable(text: str) -> str:
    """`text` without the control characters that XML forbids."""
    return _NOT_XML.sub("?", text)
