"""``python3 -m hie.describe CLASS [--path DIR]...``: what a host class declares, as JSON.

Owns the answer that ``hie check`` and the reference read: kind, summary and settings of a class.
Exits with 1 and one sentence on stderr where the class cannot be loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import sys
from typing import Any, Dict, List, Optional, Type

from hie._loading import LoadError, add_paths, load
from hie.host import Host, kind_of
from hie.settings import settings_of


def describe(cls: Type[Host], name: Optional[str] = None) -> Dict[str, Any]:
    """The description of a host class, ready for JSON."""
    own = cls.__dict__.get("__doc__")
    summary = inspect.cleandoc(own).strip().splitlines() if own else []
    return {
        "class": name or "%s.%s" % (cls.__module__, cls.__qualname__),
        "kind": kind_of(cls),
        "summary": summary[0] if summary else "",
        "settings": [setting.describe() for setting in settings_of(cls)],
    }


def main(arguments: Optional[List[str]] = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m hie.describe", description="Describes a host class as JSON.")
    parser.add_argument("cls", metavar="CLASS", help="custom.org.module.Class")
    parser.add_argument("--path", action="append", default=[], metavar="DIR", help="a folder to import from")
    options = parser.parse_args(arguments)
    add_paths(options.path)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a module that prints must not spoil the JSON
            cls = load(options.cls)
    except LoadError as error:
        print("%s" % error, file=sys.stderr)
        return 1
    print(json.dumps(describe(cls, options.cls)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
