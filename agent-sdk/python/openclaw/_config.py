"""The agent's `config` of the fleet file, read by attribute, by key or with a default."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ._errors import ConfigError


class Secret(str):
    """Text that is used as it is and hidden wherever its repr is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Config(Mapping[str, Any]):
    """A read-only view of one agent's `config`.

    Nested values are plain dicts and lists. A key that is also the name of a method of a
    mapping (`get`, `items`, `keys`, `values`) is read with brackets.
    """

    __slots__ = ("_agent", "_values")

    _agent: str
    _values: dict[str, Any]

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        agent: str = "",
        secrets: list[str] | tuple[str, ...] = (),
    ) -> None:
        copied = copy.deepcopy(dict(values or {}))
        for path in secrets:
            _hide(copied, path.split("."))
        object.__setattr__(self, "_values", copied)
        object.__setattr__(self, "_agent", agent)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return self[key]

    def __getitem__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise ConfigError(
                f"config has no `{key}`: set `agents.{self._agent or '<name>'}.config.{key}` "
                "in openclaw.yaml"
            ) from None

    def __setattr__(self, key: str, value: object) -> None:
        raise ConfigError(f"config is read-only: set `{key}` in openclaw.yaml, or use self.state")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Config({self._values!r})"

    def secret_values(self) -> list[str]:
        """Return every hidden text, for those who must keep it out of logs."""
        found: list[str] = []
        _collect(self._values, found)
        return found


def _hide(node: Any, path: list[str]) -> None:
    """Wrap the text at a dotted path; a path that leads nowhere hides nothing."""
    head, rest = path[0], path[1:]
    index: Any = int(head) if isinstance(node, list) and head.isdigit() else head
    try:
        child = node[index]
    except (KeyError, IndexError, TypeError):
        return
    if rest:
        _hide(child, rest)
    elif isinstance(child, str):
        node[index] = Secret(child)
    elif isinstance(child, dict):
        for key in child:
            _hide(child, [key])


def _collect(node: Any, found: list[str]) -> None:
    if isinstance(node, Secret):
        found.append(str(node))
    elif isinstance(node, dict):
        for item in node.values():
            _collect(item, found)
    elif isinstance(node, list):
        for item in node:
            _collect(item, found)
