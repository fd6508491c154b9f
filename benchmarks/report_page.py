"""What does the page of a large record cost a reader's browser?

    .venv/bin/python benchmarks/report_page.py [--rows 1e4 1e6] [--repeat 3]

Writes the record of an imagined run of each size (`imagined_run.py`), its report, and opens the
page in headless Chromium, without a GPU:

    page       size of the file
    chart      from the start of the navigation until all open charts are drawn
    heap       JavaScript heap then, and after all single calls were shown
    zoom       with all single calls shown, zooming into the timeline and out again in 60 steps:
               time of one step from the call until it is drawn, and from frame to frame

Values are medians of `--repeat` openings (zoom: of all steps), the 95th percentile of steps beside
them; then the last of `--rows` against the first.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from ten_million_rows import finish, write

from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.run import Run

Figures = dict[str, float]

ZOOM = """async () => {
  const label = document.querySelector("[data-panel=latency] .u-series:last-child th");
  const all = JSON.parse(document.getElementById("chart-timeline").textContent).x;
  label.click();
  if (label.getAttribute("aria-checked") !== "true") label.click();
  const frame = () => new Promise(requestAnimationFrame);
  const steps = [], frames = [];
  for (let step = 0, last = await frame(); step < 60; step++) {
    const share = 0.45 * (1 - Math.abs(step - 30) / 30);
    const began = performance.now();
    const cut = share * (all.to - all.from);
    charts.timeline.zoom(all.from + cut, all.to - cut);
    await null; // uPlot draws when the call has returned
    steps.push(performance.now() - began);
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  const calls = Number(document.querySelector("[data-panel=latency]").dataset.calls);
  return { steps, frames, calls, heap: performance.memory.usedJSHeapSize };
}"""


def written(rows: int, folder: Path) -> Path:
    """The page of a run with so many rows."""
    folder.mkdir()
    write(folder, rows)
    finish(folder, rows)
    return write_document(run_document(Run.read(folder)), folder)


def seen(browser: Browser, page: Path, repeat: int) -> Figures:
    """What opening it and zooming in it takes."""
    chart_ms, heap, shown_heap, steps, frames = [], [], [], [], []
    for _ in range(repeat):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        tab.wait_for_selector("[data-drawn]")
        chart_ms.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        heap.append(tab.evaluate("performance.memory.usedJSHeapSize"))
        zoomed: dict[str, Any] = tab.evaluate(ZOOM)
        shown_heap.append(zoomed["heap"])
        steps += zoomed["steps"]
        frames += zoomed["frames"]
        tab.close()
    return {
        "page (kB)": page.stat().st_size / 1e3,
        "chart (ms)": statistics.median(chart_ms),
        "heap (MB)": statistics.median(heap) / 1e6,
        "heap, calls shown (MB)": statistics.median(shown_heap) / 1e6,
        "zoom step (ms)": statistics.median(steps),
        "zoom step p95 (ms)": statistics.quantiles(steps, n=20)[-1],
        "zoom frame (ms)": statistics.median(frames),
        "zoom frame p95 (ms)": statistics.quantiles(frames, n=20)[-1],
    }


def main() -> int:
    """Measure, and print a column for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", nargs="+", type=float, default=[1e4, 1e6])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("There is no Chromium on this machine.")
        return 2
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"],
        )
        for rows in map(int, options.rows):
            page = written(rows, Path(folder) / str(rows))
            found.append(seen(browser, page, options.repeat))
        browser.close()
    heads = [f"{int(rows):,} rows" for rows in options.rows]
    print(f"{'':24}", *(f"{head:>16}" for head in heads), f"{'ratio':>8}")
    for name in found[0]:
        values = [each[name] for each in found]
        ratio = values[-1] / values[0] if values[0] else float("nan")
        print(f"{name:24}", *(f"{value:16.1f}" for value in values), f"{ratio:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
