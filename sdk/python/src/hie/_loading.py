"""From the name of a class to the class. Owns the import and the sentence where it fails."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from typing import Any, Iterable, List, Type

from hie.host import Host, kind_of, prepare
from hie.settings import settings_of


class LoadError(Exception):
    """A class cannot be loaded. ``code`` is stable, the text is one sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def add_paths(paths: Iterable[str]) -> None:
    """Puts folders first on the import path, in their order."""
    wanted = [os.path.abspath(path) for path in paths]
    sys.path[:] = wanted + [path for path in sys.path if path not in wanted]
    importlib.invalidate_caches()


def load(name: str) -> Type[Host]:
    """The host class ``custom.org.module.Class``, with its settings checked. LoadError if not."""
    parts = name.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise LoadError("class-name", "%r is not a class name such as custom.org.module.Class" % name)
    module, rest = _module(parts)
    found: Any = module
    for attribute in rest:
        if not hasattr(found, attribute):
            if found is module and len(rest) > 1 and hasattr(module, "__path__"):
                raise _no_module(".".join(parts[:-1]))
            near = difflib.get_close_matches(attribute, [n for n in dir(found) if not n.startswith("_")], 1)
            hint = "; did you mean %s?" % near[0] if near else ""
            raise LoadError(
                "class-missing",
                "module %s (%s) has no %s%s" % (module.__name__, getattr(module, "__file__", "a package"), ".".join(rest), hint),
            )
        found = getattr(found, attribute)
    if not kind_of(found):
        raise LoadError(
            "not-a-host",
            "%s is not a host class: it must derive from BusinessService, BusinessProcess or "
            "BusinessOperation of the module hie" % name,
        )
    cls: Type[Host] = found
    try:
        settings_of(cls)
        prepare(cls)
    except (ValueError, TypeError) as error:
        raise LoadError("class-wrong", "%s: %s" % (name, error)) from error
    return cls


def _module(parts: List[str]) -> Any:
    """The longest prefix that is a module, and the attributes behind it."""
    for size in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:size])
        try:
            return importlib.import_module(name), parts[size:]
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name == missing or name.startswith(missing + "."):
                continue  # this very module is not there: what stands last may be a class in a class
            raise _broken(name, error) from error
        except BaseException as error:  # SystemExit in a module must not end the worker unsaid
            if isinstance(error, KeyboardInterrupt):
                raise
            raise _broken(name, error) from error
    raise _no_module(".".join(parts[:-1]))


def _no_module(name: str) -> LoadError:
    folders = ", ".join(path for path in sys.path[:3] if path) or "the import path"
    return LoadError("module-missing", "no module %s (looked in %s and further)" % (name, folders))


def _broken(name: str, error: BaseException) -> LoadError:
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and not frame.filename.startswith("<")]
    spot = " (%s:%s)" % (own[-1].filename, own[-1].lineno) if own else ""
    return LoadError("import-failed", "module %s cannot be imported: %s%s" % (name, text[-1] if text else "?", spot))
