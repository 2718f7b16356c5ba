"""What of our docstrings is not Google style, for the site's reference: an extension of Griffe."""

import re
from collections.abc import Iterator
from typing import Any, override

from griffe import Class, Extension, Function, Object

_ADDED = re.compile(r"^\.\. versionadded:: (\S+)$", re.MULTILINE)
_REMARK = re.compile(r"^(Thread-safety|Cancellation): ", re.MULTILINE)
_ATTRIBUTES = re.compile(r"^Attributes:\n(?:    .*\n?)+", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^    (\w+): ", re.MULTILINE)


class Docstrings(Extension):
    """Says in Markdown since when there is something, and from which threads it may be used.

    Attributes that have no annotations, for `__init__` sets them to what it is given, are of the
    type of that parameter.
    """

    @override
    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of what was found, if it has one."""
        if obj.docstring is not None:
            text = _ADDED.sub(r"*New in version \1.*", obj.docstring.value)
            obj.docstring.value = _REMARK.sub(r"**\1:** ", text)

    @override
    def on_class_members(self, *, cls: Class, **kwargs: Any) -> None:
        """Say the types of attributes in the docstring of a class."""
        if cls.docstring is None:
            return
        types = dict(_parameters(cls))

        def typed(found: re.Match[str]) -> str:
            name = found[1]
            return f"    {name} ({types[name]}): " if name in types else found[0]

        cls.docstring.value = _ATTRIBUTES.sub(
            lambda section: _ATTRIBUTE.sub(typed, section[0]), cls.docstring.value
        )


def _parameters(cls: Class) -> Iterator[tuple[str, str]]:
    """Yield parameters of `__init__` and their annotations, of bases in the same module first."""
    around = {} if cls.parent is None else cls.parent.members
    for base in (around.get(str(it)) for it in cls.bases):
        if isinstance(base, Class):
            yield from _parameters(base)
    init = cls.members.get("__init__")
    if isinstance(init, Function):
        yield from ((it.name, str(it.annotation)) for it in init.parameters if it.annotation)
