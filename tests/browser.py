"""Headless Chromium for the tests of pages, if this machine has one.

`from browser import browser, opened` gives a module one browser for all its tests. Without Chromium
they are skipped, and `conftest.py` says below the tests how many are missing.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
MISSING = "is not on this machine"
# Colours of a panel at shares of its width and height.
PIXELS = """([panel, points]) => {
  const over = document.querySelector(`[data-panel=${panel}] .u-over`).getBoundingClientRect();
  const canvas = document.querySelector(`[data-panel=${panel}] canvas`);
  const at = canvas.getBoundingClientRect(), ratio = canvas.width / at.width;
  const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return points.map(([x, y]) => {
    const across = Math.round((over.left - at.left + x * over.width) * ratio);
    const down = Math.round((over.top - at.top + y * over.height) * ratio);
    return [...all.slice(4 * (down * canvas.width + across)).slice(0, 3)];
  });
}"""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    if CHROMIUM is None:
        pytest.skip(f"Chromium {MISSING}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@dataclass
class Opened:
    """A page, with what it wrote to the console and what it asked for."""

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def opened(browser: "Browser", address: str, *, width: int = 1280, **options: Any) -> Opened:
    """A page of its own; `options` as of Playwright's `new_page`, such as `color_scheme`."""
    seen = Opened(browser.new_page(viewport={"width": width, "height": 900}, **options))
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(address)
    return seen
