"""CloudWatch for the stand-in: a moto server in a process of its own.

Started as `python -m harness.local.metrics_server PORT_FILE`; the file appears, with the port in
it, once the server listens. It is a process of its own because moto is threaded, keeps everything
in memory, and must not slow down the event loop all calls go through.
"""

import logging
import signal
import sys
from pathlib import Path


def main() -> None:
    """Serve on a free loopback port until terminated."""
    from moto.server import ThreadedMotoServer

    port_file = Path(sys.argv[1])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    unfinished = port_file.with_suffix(".part")
    unfinished.write_text(str(port), encoding="utf-8")
    unfinished.replace(port_file)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
