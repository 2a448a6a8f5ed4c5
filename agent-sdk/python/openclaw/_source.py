"""Finding the agent in an author's file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from ._agent import Agent, declared_name, name_of
from ._errors import ConfigError, SourceError


def load(source: str, agent: str = "") -> type[Agent]:
    """Import `file.py` or `file.py:Class` and return the agent's class."""
    path, _, wanted = source.partition(":")
    found = classes_of(import_file(Path(path)))
    if wanted:
        found = [cls for cls in found if cls.__name__ == wanted]
    if len(found) > 1 and agent:
        named = [cls for cls in found if agent in (declared_name(cls), name_of(cls))]
        found = named or found
    if len(found) == 1:
        return found[0]
    if not found:
        what = f"no class {wanted}" if wanted else "no subclass of openclaw.Agent"
        raise ConfigError(f"{path}: {what} is defined in this file")
    names = ", ".join(cls.__name__ for cls in found)
    raise ConfigError(f"{path}: several agents ({names}); name one as {path}:{found[0].__name__}")


def import_file(path: Path) -> ModuleType:
    """Import a file as a module, with its folder on the path as for a script.

    Raises ConfigError for what only an edit can mend, SourceError for all else that goes wrong.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; paths are relative to {Path.cwd()}")
    if not path.is_file():
        raise ConfigError(f"{path}: not a file")
    full = path.resolve()
    spec = importlib.util.spec_from_file_location(full.stem, full)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file; its name has to end in .py")
    sys.path.insert(0, str(full.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[full.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        from ._source_failure import described, mended_by_edit

        kind = ConfigError if mended_by_edit(error) else SourceError
        raise kind(described(path, error)) from error
    return module


def classes_of(module: ModuleType) -> list[type[Agent]]:
    """Return the agents a module defines itself, without those that others there extend."""
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Agent)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    return [
        cls
        for cls in dict.fromkeys(defined)
        if not any(other is not cls and issubclass(other, cls) for other in defined)
    ]
