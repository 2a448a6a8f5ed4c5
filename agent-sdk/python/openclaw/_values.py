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
    plain = value if _is_plain(value, set()) else _tagged(value, "value", 0)
    try:
        return _dumps(plain).encode()
    except UnicodeEncodeError as error:
        raise ValueError("text with a lone surrogate is not valid in JSON") from error


def decode(text: bytes | bytearray | str) -> Any:
    """Return the value of a tagged JSON text; every call makes a fresh one."""
    # `json.loads` would first guess the encoding of bytes.
    plain = text if isinstance(text, str) else text.decode()
    value = _loads(plain)
    return untag(value) if '"$' in plain else value


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


_loads = json.JSONDecoder().decode
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _is_plain(value: Any, shapes: set[tuple[str, ...]], depth: int = 0) -> bool:
    """Say whether the C encoder may have a value; `shapes` are keys of dicts found good before.

    A history is thousands of dicts with the same keys, so those are looked at once.
    """
    items: Any
    if type(value) is dict:
        shape = (*value,)
        if shape not in shapes:
            for key in shape:
                if type(key) is not str or key[:1] == "$":
                    return False
            shapes.add(shape)
        items = value.values()
    elif type(value) is list:
        items = value
    else:
        return type(value) in _SCALARS
    if depth >= MAX_DEPTH:
        return False
    if _SCALARS.issuperset(map(type, items)):
        return True
    return all(_is_plain(item, shapes, depth + 1) for item in items)


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
