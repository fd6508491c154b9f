"""How do memory and time of writing and analysing a record grow with its rows?

    .venv/bin/python benchmarks/ten_million_rows.py [--rows 1e6 1e7] [--repeat 1]

Writes the record of an imagined run (`imagined_run.py`), finishes its tables, analyses it and
writes its report. Each phase is a process of its own, so that its peak memory is its own:

    write    StreamWriter.append for every row, a flush for every second of the run
    finish   finish_tables
    analyse  read_run, analyse_run, JSON
    report   the same, and write_document: pictures, HTML, JUnit

For each phase: wall and CPU seconds, and peak memory (highest resident set, less that of a process
that only imports the same modules), each also for one row; then the last of `--rows` against the
first. Values are medians of `--repeat` rounds; 10 million rows take minutes, hence 1 unless asked
for. Time and memory of `write` leave the making of the imagined rows out of neither; what `append`
and `flush` take is measured by itself, `append` beside the append of a bare list.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagined_run

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.run import ANALYSED_COLUMNS, Run
from mwaa_headroom.harness.record.directory import finish_tables
from mwaa_headroom.harness.record.stream import StreamWriter

Figures = dict[str, float]
PHASES = ("write", "finish", "analyse", "report")
LONGEST_PHASE_S = 3600


def only_import(_run: Path, _rows: int) -> Figures:
    """What a process costs that does nothing."""
    return {}


def write(run: Path, rows: int) -> Figures:
    """Write the streams, the events and the manifest."""
    written, append_s, bare_s, flush_s = 0, 0.0, 0.0, 0.0
    writer = StreamWriter(run / schema.REQUESTS_STREAM, schema.REQUESTS_SCHEMA)
    for block in imagined_run.row_blocks(rows):
        written += len(block)
        bare: list[tuple[object, ...]] = []
        bare_s += _appended(bare.append, block)
        append_s += _appended(writer.append, block)
        began_s = time.perf_counter()
        writer.flush()
        flush_s += time.perf_counter() - began_s
    writer.close()
    metrics = StreamWriter(run / schema.METRICS_STREAM, schema.METRICS_SCHEMA)
    for row in imagined_run.metric_rows(rows):
        metrics.append(row)
    metrics.close()
    with (run / schema.EVENTS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in imagined_run.events(rows))
    (run / schema.MANIFEST_FILE).write_text(json.dumps(imagined_run.manifest(rows)))
    return {
        "rows": written,
        "append us/row": 1e6 * append_s / written,
        "append / bare list": append_s / bare_s,
        "flush us/row": 1e6 * flush_s / written,
        "stream B/row": (run / schema.REQUESTS_STREAM).stat().st_size / written,
    }


def finish(run: Path, _rows: int) -> Figures:
    """Turn the streams into tables."""
    rows = finish_tables(run)["requests"]
    return {"rows": rows, "table B/row": (run / schema.REQUESTS_TABLE).stat().st_size / rows}


def analyse(run: Path, _rows: int) -> Figures:
    """Read, analyse, and say it as JSON."""
    began_s = time.perf_counter()
    record = read_run(run, ANALYSED_COLUMNS)
    read_s = time.perf_counter() - began_s
    json.dumps(as_json(Run(record).analysis))
    return {"rows": record.requests.num_rows, "read s": read_s}


def report(run: Path, _rows: int) -> Figures:
    """Read, analyse, and write every file of the report."""
    record = read_run(run, ANALYSED_COLUMNS)
    document = run_document(Run(record))
    began_s = time.perf_counter()
    page = write_document(document, run)
    return {
        "rows": record.requests.num_rows,
        "write_document s": time.perf_counter() - began_s,
        "report.html MB": page.stat().st_size / 1e6,
    }


def _appended(
    append: Callable[[tuple[object, ...]], None], rows: list[tuple[object, ...]]
) -> float:
    began_s = time.perf_counter()
    for row in rows:
        append(row)
    return time.perf_counter() - began_s


def in_a_process(phase: str, run: Path, rows: int) -> Figures:
    """What one phase said of itself."""
    command = [sys.executable, __file__, "--phase", phase, "--run", str(run), "--rows", str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LONGEST_PHASE_S, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def this_process(phase: str, run: Path, rows: int) -> Figures:
    """Do one phase here and say what it took."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    figures = globals()[phase](run, rows)
    return {
        "wall s": time.perf_counter() - began_s,
        "CPU s": time.process_time() - began_cpu_s,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        **figures,
    }


def measure(rows: int) -> dict[str, Figures]:
    """All phases, once."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        nothing_mb = in_a_process("only_import", run, rows)["peak MB"]
        found = {phase: in_a_process(phase, run, rows) for phase in PHASES}
    for figures in found.values():
        figures["peak MB"] -= nothing_mb
        count = figures.pop("rows")
        figures["CPU us/row"] = 1e6 * figures["CPU s"] / count
        figures["peak B/row"] = 1e6 * figures["peak MB"] / count
    return found


def medians(rounds: list[dict[str, Figures]]) -> dict[str, Figures]:
    """The median of each figure over all rounds."""
    return {
        phase: {name: statistics.median(one[phase][name] for one in rounds) for name in figures}
        for phase, figures in rounds[0].items()
    }


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=lambda text: int(float(text)), nargs="+")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--phase", choices=(*PHASES, "only_import"), help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.rows or [1_000_000, 10_000_000]
    if options.phase:
        print(json.dumps(this_process(options.phase, options.run, sizes[0])))
        return
    found = []
    for rows in sizes:
        found.append(medians([measure(rows) for _ in range(options.repeat)]))
        print(f"{rows:,} rows")
        for phase, figures in found[-1].items():
            print(f"  {phase:8}" + "  ".join(f"{n} {value:.4g}" for n, value in figures.items()))
        sys.stdout.flush()
    if len(sizes) > 1:
        print(f"{sizes[-1]:,} / {sizes[0]:,} rows = {sizes[-1] / sizes[0]:g}")
        for phase in PHASES:
            first, last = found[0][phase], found[-1][phase]
            ratios = {name: last[name] / first[name] for name in ("wall s", "CPU s", "peak MB")}
            print(f"  {phase:8}" + "  ".join(f"{n} {ratio:.3g}" for n, ratio in ratios.items()))


if __name__ == "__main__":
    main()
