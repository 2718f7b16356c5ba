"""What of our docstrings is not Google style, for the site's reference: an extension of Griffe."""

import re
from typing import Any, override

from griffe import Extension, Object

_ADDED = re.compile(r"^\.\. versionadded:: (\S+)$", re.MULTILINE)
_REMARK = re.compile(r"^(Thread-safety|Cancellation): ", re.MULTILINE)


class Docstrings(Extension):
    """Says in Markdown since when there is something, and from which threads it may be used."""

    @override
    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of what was found, if it has one."""
        if obj.docstring is not None:
            text = _ADDED.sub(r"*New in version \1.*", obj.docstring.value)
            obj.docstring.value = _REMARK.sub(r"**\1:** ", text)
