"""Leads connections on to another address: `python relay.py HOST PORT TO_HOST TO_PORT`."""

import asyncio
import sys


async def serve(host: str, port: int, to_host: str, to_port: int) -> asyncio.Server:
    """Listen, and lead every connection on."""

    async def lead_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(to_host, to_port)
        await asyncio.gather(_pump(reader, back_writer), _pump(back_reader, writer))

    return await asyncio.start_server(lead_on, host, port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _main(host: str, port: str, to_host: str, to_port: str) -> None:
    await (await serve(host, int(port), to_host, int(to_port))).serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
