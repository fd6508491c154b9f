"""A fixed piece of work, timed again and again: how fast this host is just now.

    python -I -S reference_work.py NICENESS

Every two seconds it works for some 10 ms and writes one line: the CPU and the wall-clock seconds of
one round. It ends when its standard input does, that is with whoever started it.
"""

import hashlib
import json
import os
import select
import sys
import time

EVERY_S = 2.0
ROUNDS = 6
_BLOCK = b"x" * 4096


def main() -> None:
    """Measure until standard input ends."""
    os.nice(int(sys.argv[1]))
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        _work()  # after a pause the caches hold somebody else's data
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        for _ in range(ROUNDS):
            _work()
        cpu_s, wall_s = time.thread_time() - cpu_s, time.perf_counter() - wall_s
        try:
            os.write(1, f"{cpu_s / ROUNDS:.6f} {wall_s / ROUNDS:.6f}\n".encode())
        except BrokenPipeError:
            return


def _work() -> None:
    """Interpreter, memory and hashing, about as a web framework mixes them; 1.6 ms in 2026."""
    texts = {}
    for number in range(6000):
        texts[number % 512] = str(number * 7)
    json.loads(json.dumps(texts))
    digest = hashlib.sha256()
    for _ in range(60):
        digest.update(_BLOCK)


if __name__ == "__main__":
    main()
