"""The report as one page that needs nothing but itself."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from analysis.report import sending, story, tables, words
from analysis.report.as_json import analysis_as_json
from analysis.results import RunAnalysis

_TEMPLATE: Final = "report.html.j2"
_TONES: Final = {0: "good", 3: "bad"}


def render_html(analysis: RunAnalysis, pictures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        analysis: What to tell.
        pictures: `<svg>` elements by the names of `analysis.report.plots.gallery.PICTURE_NAMES`.
    """
    stage = story.decisive_stage(analysis)
    demand, sizing = analysis.demand, analysis.sizing
    return template(_TEMPLATE).render(
        analysis=analysis,
        headline=story.headline(analysis),
        reasons=story.reasons(analysis),
        tone=_TONES.get(analysis.verdict.exit_code, "unsure"),
        identity=story.identity(analysis),
        load=sending.load(analysis),
        generator=sending.generator(analysis.generator),
        workers=tables.worker_table(analysis.generator),
        retries=sending.retries(analysis.retries) if analysis.retries else (),
        judgement=story.judgement(analysis),
        observed=story.observed,
        marks=words.MARKS,
        pictures={name: Markup(svg) for name, svg in pictures.items()},  # noqa: S704 - our own
        stages=tables.stage_table(analysis, intervals=True) if analysis.stages else None,
        stage_name=tables.stage_name(stage) if stage else "",
        latency=tables.latency_table(stage) if stage else None,
        latencies=tables.stage_latency_table(analysis) if len(analysis.stages) > 1 else None,
        operations=tables.operation_table(stage) if stage and stage.operations else None,
        errors=tables.error_table(analysis),
        webservers=tables.webserver_table(analysis),
        scaling=[story.scaling_sentence(e, analysis.started_at_s) for e in analysis.scaling],
        demand=tables.demand_table(demand, analysis.mix) if demand else None,
        background=words.number_estimate(demand.background_cpu_per_webserver) if demand else "-",
        sizing=tables.sizing_table(sizing) if sizing and sizing.rows else None,
        utilisation=words.share(sizing.utilisation_target) if sizing else "",
        mix=", ".join(f"{name} {words.share(part)}" for name, part in analysis.mix.items()),
        facts=list(_facts(analysis.environment)),
        notes=story.notes(analysis),
        data=script_safe(analysis_as_json(analysis)),
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
    return templates.get_template(name)


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
