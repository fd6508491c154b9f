"""A document as one page that needs nothing but itself."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from mwaa_headroom.analysis.report import (
    notes,
    sending,
    story,
    story_scaling,
    tables,
    tables_sizing,
    tables_truth,
    tables_webservers,
    words,
)
from mwaa_headroom.analysis.report.as_json import analysis_as_json, as_json
from mwaa_headroom.analysis.report.document import (
    MARKS,
    STATUS_OF,
    Block,
    Document,
    Figure,
    Hint,
    Section,
)
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.sentences.verdict import verdict_sentence
from mwaa_headroom.analysis.results import RunAnalysis, ScalingEvent

_PAGE: Final = "page.html.j2"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: an `<svg>` element for the page, and a PNG to take away."""

    svg: Markup
    png_base64: str


def render_page(document: Document, pictures: Mapping[str, Picture]) -> str:
    """The whole page.

    Args:
        document: What to show.
        pictures: By the names of the document's figures; a figure that is not there is left out.
    """
    return template(_PAGE).render(
        document=document,
        sections=[each for each in document.sections if _is_shown(each, pictures)],
        pictures=pictures,
        marks=MARKS,
        status_of=STATUS_OF,
        facts=list(_facts(document.facts)),
        data=script_safe(as_json(document.result)),
    )


def _is_shown(section: Section, pictures: Mapping[str, Picture]) -> bool:
    return any(
        block.name in pictures if isinstance(block, Figure) else not isinstance(block, Hint)
        for block in section.blocks
    )


@cache
def template(name: str) -> Template:
    """A page's template, by its file in this folder."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["kind"] = _kind
    return templates.get_template(name)


def _kind(block: Block) -> str:
    return type(block).__name__


def _facts(facts: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and value of every known fact, nested ones by their inner name."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _facts(value)
        elif isinstance(value, list | tuple) and value:
            yield _label(name), ", ".join(str(each) for each in value)
        elif isinstance(value, float):
            yield _label(name), words.trimmed(value) if words.is_known(value) else words.UNKNOWN
        elif value not in (None, "", [], ()):
            yield _label(name), str(value)


def _label(name: str) -> str:
    return str(name).replace("_", " ")


def script_safe(value: object) -> Markup:
    """JSON values as the text of a `<script>` element."""
    # "</script>" inside a string would end the element; "<" written as an escape cannot.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - JSON without "<" is inert here


# --- The run's report of before, until it is a `Document` ---


_TEMPLATE: Final = "report.html.j2"
_TONES: Final = {0: "good", 3: "bad"}


def render_html(analysis: RunAnalysis, pictures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        analysis: What to tell.
        pictures: `<svg>` elements by the names of `analysis.report.plots.gallery.PICTURE_NAMES`.
    """
    return template(_TEMPLATE).render(
        analysis=analysis,
        marks=words.MARKS,
        pictures={name: Markup(svg) for name, svg in pictures.items()},  # noqa: S704 - our own
        **_answer(analysis),
        **_stages(analysis),
        **_sending(analysis),
        **_sizing(analysis),
        **_scaling(analysis),
        **_truth(analysis),
        mix=", ".join(f"{name} {words.share(part)}" for name, part in analysis.mix.items()),
        facts=list(_facts(analysis.environment)),
        notes=notes.notes(analysis),
        data=script_safe(analysis_as_json(analysis)),
    )


def _answer(analysis: RunAnalysis) -> dict[str, object]:
    return {
        "headline": story.headline(analysis),
        "sentence": verdict_sentence(analysis),
        "told": told,
        "reasons": story.reasons(analysis),
        "tone": _TONES.get(analysis.verdict.exit_code, "unsure"),
        "identity": story.identity(analysis),
        "judgement": story.judgement(analysis),
        "observed": story.observed,
    }


def _stages(analysis: RunAnalysis) -> dict[str, object]:
    stages, stage = analysis.stages, story.decisive_stage(analysis)
    return {
        "stages": tables.stage_table(analysis, details=True) if stages else None,
        "mean_rate": tables.MEAN_RATE if any(each.rate_is_mean for each in stages) else "",
        "trial_remarks": story.trial_remarks(analysis),
        "stage_name": tables.stage_name(stage) if stage else "",
        "latency": tables.latency_table(stage) if stage else None,
        "latencies": tables.stage_latency_table(analysis) if len(stages) > 1 else None,
        "operations": tables.operation_table(stage) if stage and stage.operations else None,
        "errors": tables.error_table(analysis),
    }


def _sending(analysis: RunAnalysis) -> dict[str, object]:
    return {
        "load": sending.load(analysis),
        "virtual": sending.VIRTUAL_TIME if sending.is_virtual(analysis) else "",
        "generator": sending.generator(analysis.generator),
        "workers": sending.worker_table(analysis.generator),
        "retries": sending.retries(analysis.retries) if analysis.retries else (),
    }


def _sizing(analysis: RunAnalysis) -> dict[str, object]:
    demand, sizing = analysis.demand, analysis.sizing
    background = demand.background_cpu_per_webserver if demand else None
    return {
        "demand": tables_sizing.demand_table(demand, analysis.mix) if demand else None,
        "background": words.number_estimate(background),
        "sizing": tables_sizing.sizing_table(sizing) if sizing and sizing.rows else None,
        "utilisation": words.share(sizing.utilisation_target) if sizing else "",
    }


def _scaling(analysis: RunAnalysis) -> dict[str, object]:
    counts = analysis.by_webservers
    return {
        "scaling": [_change(event, analysis.started_at_s) for event in analysis.scaling],
        "elasticity": story_scaling.elasticity_sentences(analysis.elasticity),
        "counts": tables_webservers.count_table(counts, details=True) if counts else None,
        "webservers": tables_webservers.webserver_table(analysis),
    }


def _change(event: ScalingEvent, started_at_s: float) -> dict[str, object]:
    return {
        "sentence": story_scaling.scaling_sentence(event, started_at_s),
        "cost": story_scaling.cost_sentence(event),
        "steps": tables_webservers.steps_table(event, started_at_s),
    }


def _truth(analysis: RunAnalysis) -> dict[str, object]:
    return {
        "truth": tables_truth.truth_table(analysis.truth) if analysis.truth else None,
        "truth_sentence": story.truth_sentence(analysis.truth),
    }
