"""Settings: declared once, as typed attributes of a host class.

    class Lookup(BusinessProcess):
        url: str = Setting("https://pds.example", doc="Where the service is.")
        timeout: float = Setting(5.0, min=0.1, max=60, doc="How long one look-up may take.")
        api_key: str = Setting(doc="The key.")            # no default: the file must give it

Owns the declaration, the check of a value and the table that ``hie check`` reads. The names that
stand in the configuration are those of the attributes, or ``name=`` where that is given.
"""

from __future__ import annotations

import math
import typing
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type

TYPES = ("text", "bool", "int", "seconds", "bytes", "choice", "items", "path")
TARGETS = ("Host", "Adapter")


class SettingError(ValueError):
    """A declaration or a value of a setting is wrong; the text says which, and what would do."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


class SettingDef:
    """One declared setting. On an instance of the host it reads as the value."""

    def __init__(
        self,
        default: Any,
        doc: str,
        type: Optional[str],
        choices: Optional[Sequence[str]],
        min: Optional[float],
        max: Optional[float],
        name: Optional[str],
        target: str,
        optional: bool,
        unlimited: bool,
    ) -> None:
        if target not in TARGETS:
            raise SettingError("target is Host or Adapter, not %r" % (target,))
        if type is not None and type not in TYPES:
            raise SettingError("type %r is none of %s" % (type, ", ".join(TYPES)))
        if choices is not None and (not choices or not all(isinstance(c, str) for c in choices)):
            raise SettingError("choices is a list of texts, and not empty")
        for bound in (min, max):
            if bound is not None and (isinstance(bound, bool) or not math.isfinite(bound)):
                raise SettingError("min and max are finite numbers")
        self.default = None if default is MISSING else default
        self.unlimited = unlimited
        self.required = default is MISSING and not optional and not unlimited
        self.doc = doc
        self.type = type or ""
        self.choices = list(choices) if choices is not None else None
        self.min = min
        self.max = max
        self.target = target
        self.attribute = ""
        self.name = name or ""

    def __set_name__(self, owner: Type[Any], attribute: str) -> None:
        self.attribute = attribute
        self.name = self.name or attribute

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        return self.default  # a given value stands in the instance itself

    def complete(self, owner: Type[Any], annotation: Any) -> None:
        """Finds the type by annotation and default; SettingError if they contradict each other."""
        if not self.type:
            self.type = self._guess(owner, annotation)
        if self.type == "choice" and self.choices is None:
            raise SettingError("setting %s: a choice needs choices=[...]" % self.name)
        if self.unlimited and self.type != "seconds":
            raise SettingError("setting %s: only seconds can be unlimited" % self.name)
        if self.default is not None:
            self.default = self.check(self.default)

    def _guess(self, owner: Type[Any], annotation: Any) -> str:
        if self.choices is not None:
            return "choice"
        kinds: Dict[Any, str] = {bool: "bool", int: "int", float: "seconds", str: "text"}
        bare = _bare(annotation)
        if bare in kinds:
            return kinds[bare]
        if bare in (list, tuple) or isinstance(self.default, (list, tuple)):
            return "items"
        if annotation is None and self.default is not None and type(self.default) in kinds:
            return kinds[type(self.default)]
        if annotation is None and self.default is None:
            return "text"
        raise SettingError(
            "setting %s of %s: the type is not known; annotate it with str, bool, int, float "
            "(seconds) or List[str] (items), or say type=..." % (self.name, owner.__name__)
        )

    def check(self, value: Any) -> Any:
        """The value as the host sees it; SettingError if it does not fit."""
        if value is None:
            return None
        checked = _CHECKS[self.type](value)
        if checked is MISSING:
            raise SettingError("setting %s: %s expected, found %s" % (self.name, _WANTED[self.type], _kind(value)))
        if self.unlimited and checked == -1:
            return None
        if self.type == "seconds" and checked < 0:
            raise SettingError("setting %s: a time is not negative" % self.name)
        if self.choices is not None and self.type == "choice":
            for choice in self.choices:
                if choice.lower() == checked.lower():
                    return choice
            raise SettingError("setting %s: one of %s expected" % (self.name, ", ".join(self.choices)))
        if self.type in ("int", "seconds", "bytes"):
            if self.min is not None and checked < self.min:
                raise SettingError("setting %s: at least %s expected, found %s" % (self.name, _number(self.min), _number(checked)))
            if self.max is not None and checked > self.max:
                raise SettingError("setting %s: at most %s expected, found %s" % (self.name, _number(self.max), _number(checked)))
        return checked

    def _default_written(self) -> Optional[str]:
        if self.default is None:
            return "-1" if self.unlimited else None
        return _written(self.default)

    def describe(self) -> Dict[str, Any]:
        """The row of the table that ``python3 -m hie.describe`` prints."""
        return {
            "name": self.name,
            "type": self.type,
            "default": self._default_written(),
            "required": self.required,
            "doc": self.doc,
            "choices": self.choices or [],
            "min": -1 if self.unlimited else self.min,
            "max": self.max,
            "target": self.target,
        }


def Setting(
    default: Any = MISSING,
    *,
    doc: str = "",
    type: Optional[str] = None,
    choices: Optional[Sequence[str]] = None,
    min: Optional[float] = None,
    max: Optional[float] = None,
    name: Optional[str] = None,
    target: str = "Host",
    optional: bool = False,
    unlimited: bool = False,
) -> Any:
    """Declares a setting of a host class.

    ``default``: the value where the configuration gives none; without it the configuration must
    give one, unless ``optional`` says that None will do. ``doc``: what it means, with units.
    ``type``: one of text, bool, int, seconds, bytes, choice, items, path; found by the annotation
    where left out (str, bool, int, float is seconds, List[str] is items). ``choices``: the values
    allowed. ``min``, ``max``: bounds. ``name``: the name in the configuration, where it is not the
    attribute's (``name="PDSEndpoint"``). ``target``: ``Host`` or ``Adapter``. ``unlimited``: seconds
    that may be -1, which is read as None: no limit (and is the default where none is given).
    """
    return SettingDef(default, doc, type, choices, min, max, name, target, optional, unlimited)


def settings_of(cls: Type[Any]) -> List[SettingDef]:
    """All settings of a class, those of its bases first, in the order they are declared."""
    found: Dict[str, SettingDef] = {}
    for base in reversed(cls.__mro__):
        annotations = _annotations(base)
        for attribute, value in list(vars(base).items()):
            if isinstance(value, SettingDef):
                value.complete(base, annotations.get(attribute))
                found[attribute] = value
            elif attribute in found:
                del found[attribute]  # a child fixed it
    names: Dict[str, str] = {}
    for setting in found.values():
        other = names.setdefault(setting.name, setting.attribute)
        if other != setting.attribute:
            raise SettingError("setting %s is declared twice: as %s and as %s" % (setting.name, other, setting.attribute))
    return list(found.values())


def values_for(cls: Type[Any], given: Mapping[str, Any]) -> Dict[str, Any]:
    """The value of each attribute, from values by the names of the configuration.

    SettingError for a value that does not fit and a required one that is absent. Names that the
    class does not declare are the engine's own and left alone.
    """
    values: Dict[str, Any] = {}
    for setting in settings_of(cls):
        if setting.name in given and given[setting.name] is not None:
            values[setting.attribute] = setting.check(given[setting.name])
        elif setting.required:
            raise SettingError("setting %s is required and not given" % setting.name)
        elif setting.name in given and setting.unlimited:
            values[setting.attribute] = None  # a time without limit
        else:
            values[setting.attribute] = setting.default
    return values


def _annotations(cls: Type[Any]) -> Dict[str, Any]:
    try:
        return {k: v for k, v in typing.get_type_hints(cls).items() if k in cls.__dict__.get("__annotations__", {})}
    except Exception:  # an annotation that cannot be resolved at run time, for whatever reason
        return dict(cls.__dict__.get("__annotations__", {}))


_BY_NAME = {"str": str, "bool": bool, "int": int, "float": float, "list": list}


def _bare(annotation: Any) -> Any:
    """``Optional[float]`` and ``"float | None"`` are float, ``List[str]`` is list."""
    if isinstance(annotation, str):
        text = annotation.replace("typing.", "").replace("Optional[", "").replace("| None", "")
        return _BY_NAME.get(text.split("[")[0].strip(" ]").lower(), annotation)
    if typing.get_origin(annotation) is typing.Union:
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _bare(parts[0]) if len(parts) == 1 else annotation
    return typing.get_origin(annotation) or annotation


def _kind(value: Any) -> str:
    return {str: "text", bool: "a boolean", int: "an integer", float: "a number", list: "a list"}.get(
        type(value), type(value).__name__
    )


def _number(value: float) -> str:
    text = "%.9f" % value  # never with an exponent
    return text.rstrip("0").rstrip(".") if "." in text else text


def _written(value: Any) -> str:
    """A default as it would be written in the configuration."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return ",".join(value)
    return str(value)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else MISSING


def _as_bool(value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
            value.strip().lower(), MISSING
        )
    return value if isinstance(value, bool) else MISSING


def _as_int(value: Any) -> Any:
    try:
        if isinstance(value, str):
            return int(value.strip())
    except ValueError:
        return MISSING
    return value if isinstance(value, int) and not isinstance(value, bool) else MISSING


def _as_seconds(value: Any) -> Any:
    try:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            seconds = float(value)
            return seconds if math.isfinite(seconds) else MISSING
    except (ValueError, OverflowError):
        pass
    return MISSING


def _as_items(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    fits = isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)
    return list(value) if fits else MISSING


def _as_path(value: Any) -> Any:
    return str(value) if isinstance(value, str) or hasattr(value, "__fspath__") else MISSING


_CHECKS = {
    "text": _as_text, "bool": _as_bool, "int": _as_int, "seconds": _as_seconds, "bytes": _as_int,
    "choice": _as_text, "items": _as_items, "path": _as_path,
}  # fmt: skip
_WANTED = {
    "text": "text", "bool": "true or false", "int": "a whole number", "seconds": "a number of seconds",
    "bytes": "a number of bytes", "choice": "text", "items": "a list of items", "path": "a path",
}  # fmt: skip
