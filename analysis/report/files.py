"""The files of an answer about several runs: a page, JSON, a summary and pictures."""

import base64
from dataclasses import dataclass
from json import dumps
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.plots.drawing import as_inline_svg, as_png
from mwaa_headroom.analysis.report.write import replace_file


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a page: drawn into it, and as a PNG to take away."""

    svg: Markup
    png_base64: str


def write_picture(figure: Figure, name: str, directory: Path) -> Picture:
    """Write plots/{name}.png into `directory`.

    Returns:
        The same picture for the page.

    Raises:
        OSError: the directory cannot be written.
    """
    png = as_png(figure)
    (directory / "plots").mkdir(parents=True, exist_ok=True)
    replace_file(directory / "plots" / f"{name}.png", png)
    svg = Markup(as_inline_svg(figure, name))  # noqa: S704 - our own picture
    return Picture(svg, base64.b64encode(png).decode())


def write_answer_files(directory: Path, stem: str, html: str, text: str, result: object) -> Path:
    """Write {stem}.json (the result), summary.txt and {stem}.html, each whole or not at all.

    Returns:
        The page.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / f"{stem}.html"
    json = dumps(as_json(result), indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(directory / f"{stem}.json", f"{json}\n".encode())
    replace_file(directory / "summary.txt", f"{text}\n".encode())
    replace_file(page, html.encode())
    return page
