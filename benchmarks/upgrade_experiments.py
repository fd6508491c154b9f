"""What does `headroom upgrade` say on real Airflow where the truth is known?

    .venv/bin/python benchmarks/upgrade_experiments.py                    nothing changed (A/A)
    .venv/bin/python benchmarks/upgrade_experiments.py --burn 0.12        one side costs 12 % more

Makes whole experiments one after the other, each with both environments started anew. What burns
is a plugin of the contender, written into a folder of its own: a middleware that works for a fixed
CPU time before every call. That time is the share of --demand-ms, so the true ratio is 1 + time /
demand of the mix, the latter as the baseline of the same experiment has it. Needs a machine that
has nothing else to do; an experiment of 4 to 6 pairs takes 15 to 22 minutes.

`no correction`: the same ratio without what the host's reference work says, and how much the pairs
spread either way: what the correction is worth.
"""

import argparse
import math
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mwaa_headroom.analysis.comparison.metrics import MIX_DEMAND
from mwaa_headroom.analysis.comparison.upgrade import UpgradeAnswer, doubt_of, slower
from mwaa_headroom.analysis.report.upgrade_report import pair_told
from mwaa_headroom.harness.cli.progress import console_progress
from mwaa_headroom.harness.run.upgrade import carry_out, finished_pairs, new_experiment

SCENARIO = Path(__file__).parent.parent / "scenarios" / "upgrade.toml"
PLUGIN = """
import time
from airflow.plugins_manager import AirflowPlugin


class Burning:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            until_s = time.thread_time() + {burnt_s}
            while time.thread_time() < until_s:
                pass
        await self.app(scope, receive, send)


class BurningPlugin(AirflowPlugin):
    name = "burning"
    fastapi_root_middlewares = [
        {{"middleware": Burning, "args": [], "kwargs": {{}}, "name": "burning"}}
    ]
"""


def main() -> None:
    """Make the experiments and print a line for each, then the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=10)
    parser.add_argument("--from", dest="before", default="3.3.1")
    parser.add_argument("--to", dest="after", default="3.3.1")
    parser.add_argument("--burn", type=float, default=0.0)
    parser.add_argument("--demand-ms", type=float, default=25.0)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--margin", type=float, default=0.1)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.mkdtemp(prefix="upgrade-")))
    given = parser.parse_args()
    burnt_s = given.burn * given.demand_ms / 1000
    plugins = given.runs / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "burning.py").write_text(PLUGIN.format(burnt_s=burnt_s), encoding="utf-8")
    burning = (f"upgrade.contender.environment.plugins_folder={plugins}",) if burnt_s else ()
    print(f"runs in {given.runs}\n")
    print(
        "| verdict | pairs | set aside | minutes | true | ratio | holds | no correction | spread |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    held, verdicts = [], []
    for number in range(given.experiments):
        began_s = time.monotonic()
        directory = new_experiment(
            SCENARIO,
            overrides=(*burning, f"traffic.seed={100 * number + 1}"),
            variables=os.environ,
            versions=(given.before, given.after),
            pairs=given.pairs,
            margin=given.margin,
            virtual_time=False,
            runs_directory=given.runs,
            now=datetime.now(UTC),
        )
        with console_progress(quiet=False) as progress:
            answer = carry_out(directory, progress, pair_told).answer
        if answer is None:
            break
        verdicts.append(answer.comparison.verdict)
        minutes = (time.monotonic() - began_s) / 60
        held.append(print_row(directory, answer, minutes, burnt_s))
    print(f"\n{[(verdict, verdicts.count(verdict)) for verdict in sorted(set(verdicts))]}")
    print(f"the interval held the truth in {sum(held)} of {len(held)}")


def print_row(directory: Path, answer: UpgradeAnswer, minutes: float, burnt_s: float) -> bool:
    """Whether the interval of the mix's demand holds the truth."""
    mix = next(each for each in answer.comparison.gate if each.metric == MIX_DEMAND)
    true = 1 + burnt_s / (mix.baseline.value or math.nan)
    low, high = mix.change.low or math.nan, mix.change.high or math.nan
    pairs = [pair for pair in finished_pairs(directory) if doubt_of(pair) is None]
    raw = np.log(np.array(mix.contender_values) / np.array(mix.baseline_values))
    corrected = raw - np.log([slower(pair) for pair in pairs])
    print(
        f"| {answer.comparison.verdict} | {answer.pairs} | {len(answer.set_aside)} | {minutes:.0f} "
        f"| {true:.3f} | {mix.change.value:.3f} ({low:.3f}-{high:.3f}) | {low <= true <= high} "
        f"| {np.exp(raw.mean()):.3f} | {100 * corrected.std(ddof=1):.1f} %, without "
        f"{100 * raw.std(ddof=1):.1f} % |",
        flush=True,
    )
    return low <= true <= high


if __name__ == "__main__":
    main()
