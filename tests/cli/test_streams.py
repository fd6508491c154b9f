"""Standard output and standard error in any encoding, closed, full, and with nobody reading."""

import codecs
import encodings.aliases
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.harness.cli.streams import say_aside, text_stream
from mwaa_headroom.harness.errors import ExitCode

HEADROOM = [sys.executable, "-c", "from mwaa_headroom.harness.cli.main import main; main()"]
ANSWER = "p95(latency) < 500ms ✓ 172 ms ±2 % ✗ Prüfung 負荷 \U0001f600\n"


def text_encodings() -> Iterator[str]:
    """Every codec of Python's from text to bytes."""
    others = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf_8_sig", "undefined")
    for name in sorted({*encodings.aliases.aliases.values(), *others}):
        try:
            "".encode(name)
        except LookupError:  # not here, or not of text
            continue
        except UnicodeError:  # nor of any text at all
            pass
        yield name


@pytest.mark.parametrize("encoding", list(text_encodings()))
def test_any_encoding_takes_any_text(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "output"
    with path.open("wb") as file, text_stream(encoding, file.fileno()) as stream:
        stream.write(ANSWER)
        stream.flush()
        written = path.read_bytes().decode(stream.encoding)

    assert "p95(latency) < 500ms " in written
    assert any(mark in written for mark in ("< 500ms ✓ 172 ms ", "< 500ms v 172 ms ", r"\u2713"))


@pytest.mark.parametrize(
    ("encoding", "seen"),
    [
        ("utf-8", ANSWER),
        ("cp1252", "p95(latency) < 500ms v 172 ms ±2 % x Prüfung \\u8ca0\\u8377 \\U0001f600\n"),
        ("ascii", "p95(latency) < 500ms v 172 ms +-2 % x Pr\\xfcfung \\u8ca0\\u8377 \\U0001f600\n"),
        ("shift_jis", "p95(latency) < 500ms v 172 ms ±2 % x Pr\\xfcfung 負荷 \\U0001f600\n"),
    ],
)
def test_what_an_encoding_lacks_is_written_plainly(
    encoding: str, seen: str, tmp_path: Path
) -> None:
    path = tmp_path / "output"
    with path.open("wb") as file, text_stream(encoding, file.fileno()) as stream:
        stream.write(ANSWER)
        stream.flush()
        assert path.read_text(encoding) == seen


def test_the_codec_of_a_stream_is_kept_where_it_can_be(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as file:
        with text_stream("gbk", file.fileno()) as stream:
            assert codecs.lookup(stream.encoding).name == "gbk"
        with text_stream("idna", file.fileno()) as stream:
            assert codecs.lookup(stream.encoding).name == "ascii"


def test_a_full_disk_below_standard_output_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*HEADROOM, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )

    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("headroom: Cannot write to standard output: No space left")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('"$@" --help >&-', ExitCode.OK),
        ('"$@" --help >&- 2>&- <&-', ExitCode.OK),
        ('"$@" fly >&- 2>/dev/full', ExitCode.USAGE),
        ('{ sleep 0.1; exec "$@" --help; } 2>&1 | true; exit ${PIPESTATUS[0]}', ExitCode.OK),
        ('{ sleep 0.1; "$@" fly; } 2>&1 | true; exit ${PIPESTATUS[0]}', ExitCode.USAGE),
    ],
)
def test_streams_that_nobody_reads_do_not_change_the_exit_code(shell: str, code: ExitCode) -> None:
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *HEADROOM], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_full_pipe_that_does_not_block_is_waited_for(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    script = (
        "import sys\n"
        "from mwaa_headroom.harness.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        "print('x' * 1_000_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert len(lines.read()) == 1_000_001
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain, Prüfung, 負荷, [bold], \\x1b", "plain, Prüfung, 負荷, [bold], \\x1b"),
        ("\x1b]0;owned\x07\x1b[2J", "\\x1b]0;owned\\x07\\x1b[2J"),
        ("one\nheadroom: two\r\tthree\x9b31m", "one\\nheadroom: two\\r\\tthree\\x9b31m"),
        ("4 servers \u202e001\u2069\u2028", "4 servers \\u202e001\\u2069\\u2028"),
        ("half \ud83d a pair", "half \\ud83d a pair"),
        ("👩\u200d🔬 soft\u00adhyphen", "👩\u200d🔬 soft\u00adhyphen"),
    ],
)
def test_orders_to_the_terminal_are_shown_instead_of_obeyed(text: str, seen: str) -> None:
    assert escape_controls(text) == seen


def test_a_message_is_one_line_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    say_aside("There is no 'a\x1b[31m\nheadroom: b'.")

    assert capsys.readouterr().err == "There is no 'a\\x1b[31m\\nheadroom: b'.\n"
