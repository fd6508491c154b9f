"""Signals that ask a command to end are taken like Ctrl-C, so that it ends in order."""

import signal


def end_in_order() -> None:
    """From now on SIGTERM, and SIGHUP of a terminal that closes, raise KeyboardInterrupt.

    Whoever started us with SIGHUP ignored (`nohup`) wants us to go on without the terminal.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _end_once)


def _end_once(number: int, _: object) -> None:
    # Kernel, shell and sshd each send one for the same closed terminal; only a second Ctrl-C is
    # somebody who no longer wants to wait.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
