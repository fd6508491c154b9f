"""The guard that keeps secrets out of a record: it refuses keys that look like one."""

import re
from collections.abc import Mapping

from harness.errors import UsageError

_LOOKS_SECRET = re.compile(
    r"secret|passw(or)?d|token|credential|authorization|cookie|signature|(access|private|api|fernet)_?key",
    re.IGNORECASE,
)


def refuse_secrets(value: object, *, where: str) -> None:
    """Search mappings and sequences for keys that look like secrets.

    Args:
        value: what is about to be written.
        where: what to call it in the error, such as "the manifest".

    Raises:
        UsageError: a key looks like a secret; its value is not shown.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _LOOKS_SECRET.search(str(key)):
                raise UsageError(
                    f"The key '{key}' looks like a secret and does not go into {where}; "
                    "rename or remove it."
                )
            refuse_secrets(inner, where=where)
    elif isinstance(value, list | tuple):
        for inner in value:
            refuse_secrets(inner, where=where)
