"""A loopback server that answers every InvokeRestApi call alike, as cheaply as it can.

It stands for an environment with endless capacity, so that what is left to see is the generator.
Run by itself it prints its port as the first line and serves until it is told to stop.
"""

import argparse
import asyncio
import time

from aiohttp import web

OK = {"RestApiStatusCode": 200, "RestApiResponse": {"dags": [], "total_entries": 0}}
BROKEN = {"RestApiStatusCode": 503, "RestApiResponse": {"detail": "no"}}


def canned_app(
    *, delay_s: float, freeze_at_call: int, freeze_s: float, broken: bool, arn: str
) -> web.Application:
    """The server; `freeze_at_call` makes it stand still as a whole once, for `freeze_s`."""
    calls = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal calls
        await request.read()
        calls += 1
        if calls == freeze_at_call:
            time.sleep(freeze_s)
        if delay_s:
            await asyncio.sleep(delay_s)
        if broken:
            headers = {"x-amzn-errortype": "RestApiServerException"}
            return web.json_response(BROKEN, status=400, headers=headers)
        return web.json_response(OK)

    async def environment(_: web.Request) -> web.Response:
        return web.json_response({"Environment": {"Arn": arn, "Status": "AVAILABLE"}})

    app = web.Application()
    app.router.add_get("/environments/{name}", environment)
    app.router.add_post("/restapi/{name}", answer)
    return app


async def serve(app: web.Application) -> None:
    """Serve on any free loopback port until cancelled."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Read options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--freeze-at-call", type=int, default=0)
    parser.add_argument("--freeze-s", type=float, default=0.0)
    parser.add_argument("--broken", action="store_true", help="every call is Airflow's error")
    parser.add_argument("--arn", default="", help="of the environment, as GetEnvironment tells it")
    options = parser.parse_args()
    app = canned_app(
        delay_s=options.delay_s,
        freeze_at_call=options.freeze_at_call,
        freeze_s=options.freeze_s,
        broken=options.broken,
        arn=options.arn,
    )
    asyncio.run(serve(app))


if __name__ == "__main__":
    main()
