"""An answer as one page that needs nothing but itself."""

from collections.abc import Mapping
from typing import Final

from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.files import Picture
from mwaa_headroom.analysis.report.html import script_safe, template
from mwaa_headroom.analysis.report.planning.answer import Answer
from mwaa_headroom.analysis.report.planning.terminal import TITLES

_ANSWER: Final = "planning/answer.html.j2"


def render_answer_html(answer: Answer, result: object, pictures: Mapping[str, Picture]) -> str:
    """The whole page.

    Args:
        answer: What to tell.
        result: The dataclass it was drawn from, for the data embedded in the page.
        pictures: By the names that the sections use; a section whose picture is not there
            goes without.
    """
    return template(_ANSWER).render(
        answer=answer,
        title=TITLES[answer.kind],
        pictures={name: picture.svg for name, picture in pictures.items()},
        pngs={name: picture.png_base64 for name, picture in pictures.items()},
        data=script_safe(as_json(result)),
    )
