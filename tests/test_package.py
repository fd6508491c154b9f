"""What is built is one package that works without the clone, and without what it does not need."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("analysis", "harness", "locustfiles", "scenarios")


def python(script: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def build(source: Path, into: Path, *targets: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(into), *targets],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    build(ROOT, folder, "-t", "sdist", "-t", "wheel")
    return folder


def source_files() -> set[str]:
    """What the package is made of, by its path in the wheel."""
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return {f"mwaa_headroom/{name}" for name in files | {"__init__.py", "py.typed"}}


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_all_of_its_data(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        is_link = [info.filename for info in archive.infolist() if info.external_attr >> 28 == 0xA]
        scenario = archive.read("mwaa_headroom/scenarios/quickstart.toml")

    package = {name for name in names if ".dist-info/" not in name}
    assert package == source_files()
    assert {Path(name).suffix for name in package} == {
        *(".css", ".csv", ".html", ".in", ".j2", ".js", ".json", ".py", ".toml", ".txt", ".typed"),
    }
    assert {
        "mwaa_headroom/analysis/report/page/uplot.js",
        "mwaa_headroom/analysis/report/page/uplot.license.txt",
        "mwaa_headroom/harness/aws/prices.toml",
        "mwaa_headroom/harness/local/airflow/dags/headroom_dags.py",
        "mwaa_headroom/harness/local/airflow/fab/headroom_bearer.py",
        "mwaa_headroom/harness/local/airflow/requirements/3.3.1.txt",
        "mwaa_headroom/scenarios/traces/morning.csv",
    } <= package
    assert {name.partition("/")[2] for name in names - package} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
    }
    assert is_link == []
    assert scenario == (ROOT / "scenarios" / "quickstart.toml").read_bytes()


@pytest.mark.slow
def test_a_wheel_from_the_sdist_is_the_same(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()

    build(source, tmp_path / "again", "-t", "wheel")

    (wheel,) = built.glob("*.whl")
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_installed_package_works_and_brings_no_other_names(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    target = tmp_path / "site"
    installed = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-compile", "--disable-pip-version-check", "--target", str(target), str(wheel)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert installed.returncode == 0, installed.stderr
    packages = {entry.name for entry in target.iterdir() if not entry.name.endswith(".dist-info")}
    script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(target)!r})
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.run.load_processes import LOCUSTFILE
assert LOCUSTFILE == Path({str(target)!r}) / "mwaa_headroom/locustfiles/invoke_rest_api.py"
assert LOCUSTFILE.is_file()
for name in {FOLDERS}:
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"import {{name}} works, and should not")
app(["--help"])
"""

    answer = python(script, cwd=tmp_path)

    assert packages - {"bin"} == {"mwaa_headroom"}
    assert answer.returncode == 0, answer.stderr
    assert "Load tests and capacity planning" in answer.stdout


@pytest.mark.slow
def test_a_run_on_aws_needs_no_extra_packages(tmp_path: Path) -> None:
    """It gets as far as asking AWS, here at an address where nobody answers."""
    answer = run_without_extra_packages("aws_capacity.toml", tmp_path)

    assert answer.returncode in (1, 2)
    assert "http://127.0.0.1:9" in answer.stderr
    assert "mwaa-headroom[local]" not in answer.stderr


@pytest.mark.slow
def test_a_run_in_virtual_time_needs_no_extra_packages(tmp_path: Path) -> None:
    answer = run_without_extra_packages("smoke.toml", tmp_path, "--virtual-time")

    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "latest" / "report.html").is_file()


@pytest.mark.slow
def test_a_simulated_environment_without_the_extra_packages_is_refused(tmp_path: Path) -> None:
    answer = run_without_extra_packages("smoke.toml", tmp_path)

    assert answer.returncode == 2
    assert (
        answer.stderr.strip().splitlines()[-1].endswith("run `pip install 'mwaa-headroom[local]'`.")
    )
    assert "Traceback" not in answer.stderr


def run_without_extra_packages(
    scenario: str, cwd: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    arguments = ["headroom", "run", str(ROOT / "scenarios" / scenario), "--runs", ".", *options]
    return python(
        f"""
import os, sys
for name in ("aiohttp", "moto", "uv"):
    sys.modules[name] = None  # as if it were not installed
os.environ |= {{
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "example",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_MAX_ATTEMPTS": "1",
}}
sys.path.insert(0, {str(ROOT / "src")!r})
sys.argv = {arguments}
from mwaa_headroom.harness.cli.main import main
main()
""",
        cwd=cwd,
    )
