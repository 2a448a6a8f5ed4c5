"""Python values as JSON text and back, with tags for what JSON lacks.

Most values are plain and go through the C encoder as they are. A quick walk finds out, since
that encoder would silently turn tuples into lists and numbers used as keys into text.
"""

from __future__ import annotations

import json
from typing import Any

TAGS = frozenset(("$set", "$tuple", "$bytes", "$datetime", "$decimal", "$dict"))
MAX_DEPTH = 128
_SCALARS = frozenset((str, int, float, bool, type(None)))


def encode(value: Any) -> bytes:
    """Return the tagged JSON text of a value; TypeError or ValueError name the place."""
    plain = value if _is_plain(value, 0) else _tagged(value, "value", 0)
    try:
        return _dumps(plain).encode()
    except UnicodeEncodeError as error:
        raise ValueError("text with a lone surrogate is not valid in JSON") from error


def decode(text: bytes | bytearray | str) -> Any:
    """Return the value of a tagged JSON text; every call makes a fresh one."""
    value = json.loads(text)
    if (b'"$' if isinstance(text, (bytes, bytearray)) else '"$') in text:  # type: ignore[operator]
        return untag(value)
    return value


def untag(value: Any) -> Any:
    """Replace tagged objects in parsed JSON by the values they stand for."""
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(tag, inner)] = value.items()
        if tag in TAGS:
            return _from_tag(tag, inner)
    return {key: untag(item) for key, item in value.items()}


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth >= MAX_DEPTH:
        return False
    if kind is list:
        items = value
    elif kind is dict:
        for key in value:
            if type(key) is not str or key[:1] == "$":
                return False
        items = value.values()
    else:
        return False
    for item in items:
        if type(item) not in _SCALARS and not _is_plain(item, depth + 1):
            return False
    return True


def _tagged(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"{path} is nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return [_tagged(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return _tagged_dict(value, path, depth)
    if isinstance(value, tuple):
        items = [_tagged(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        return {"$tuple": items}
    if isinstance(value, (set, frozenset)):
        # Sorted, so that an unchanged set is the same text and costs the store nothing.
        texts = sorted(_dumps(_tagged(item, f"{path}{{…}}", depth + 1)) for item in value)
        return {"$set": [json.loads(text) for text in texts]}
    return _tagged_scalar(value, path)


def _tagged_dict(value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{path} has the key {key!r}; keys of stored objects are text")
    encoded = {
        str(key): _tagged(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()
    }
    return {"$dict": encoded} if TAGS.intersection(value) else encoded


def _tagged_scalar(value: Any, path: str) -> dict[str, str]:
    if isinstance(value, (bytes, bytearray)):
        import base64

        return {"$bytes": base64.b64encode(value).decode()}
    from datetime import datetime
    from decimal import Decimal

    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    raise TypeError(f"{path} is a {type(value).__name__}, which cannot be stored")


def _from_tag(tag: str, inner: Any) -> Any:
    if tag == "$dict":
        return {key: untag(item) for key, item in inner.items()}
    if tag == "$set":
        return {untag(item) for item in inner}
    if tag == "$tuple":
        return tuple(untag(item) for item in inner)
    if tag == "$bytes":
        import base64

        return base64.b64decode(inner)
    if tag == "$datetime":
        from datetime import datetime

        # Python 3.10 does not read the `Z` that other languages write.
        return datetime.fromisoformat(inner[:-1] + "+00:00" if inner.endswith("Z") else inner)
    from decimal import Decimal

    return Decimal(inner)
