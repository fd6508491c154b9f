"""Several things at once, of which one failing ends all."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*works: Coroutine[Any, Any, object]) -> None:
    """Wait for all; if one fails, cancel the others and raise its exception, not a group's."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as exc:
        raise exc.exceptions[0] from exc
