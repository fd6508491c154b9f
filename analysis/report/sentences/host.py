"""What this host had to do beside a run."""

from typing import Final

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import StageLabel

_MENTIONED: Final = 0.1  # of all that was taken
_LEAST_CPUS: Final = 0.03  # whenever the sum is past its limit, one of them is


@says("host.disturbed")
def _(
    others_cpus: float,
    stolen_cpus: float,
    throttled_cpus: float,
    cpus: float,
    speed: float | None,
) -> str:
    mentioned = _MENTIONED * (others_cpus + stolen_cpus + throttled_cpus)
    of = f"of this host's {words.counted(cpus, 'CPU')}"
    parts = [
        f"{what} {taken:.2g} {of}"
        for what, taken in (
            ("other processes used", others_cpus),
            ("other virtual machines took", stolen_cpus),
            ("a limit from outside withheld", throttled_cpus),
        )
        if taken >= max(mentioned, _LEAST_CPUS)
    ]
    parts += [] if speed is None else [f"this host ran at {speed:.2g} of its fastest in this run"]
    found = words.capital(words.enumerated(parts))
    return f"{found}: end what else runs here, or use a quieter host, and repeat the run."


@says("run.host_disturbed")
def _(stages: tuple[int, ...], worst: StageLabel, how: Finding) -> str:
    beside = f"Beside stage{'' if len(stages) == 1 else 's'} {words.listed(stages)}"
    most = "" if len(stages) == 1 else f", most in {words.stage_label(*worst)}"
    return f"{beside}{most}: {words.lowered(told(how))}"


@says("run.host_slow")
def _(stages: tuple[int, ...], speed: float) -> str:
    beside = f"stage{'' if len(stages) == 1 else 's'} {words.listed(stages)}"
    return (
        f"This host was slow ({speed:.2g} of its fastest, {beside}): calls cost up to 1.5 times "
        "the CPU."
    )
