"""HTML out of template strings: what is interpolated is text, unless it is markup already."""

from collections.abc import Iterable
from html import escape
from string.templatelib import Interpolation, Template


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def html(template: Template) -> Markup:
    """Make HTML of a template, with all that is interpolated escaped.

    Markup is taken as it is, and several of them, in an iterable, one after the other.
    """
    return Markup("".join(part if isinstance(part, str) else _text(part) for part in template))


def _text(part: Interpolation[object]) -> str:
    match part.value:
        case Markup() as markup:
            return markup
        case str() as text:
            return escape(format(text, part.format_spec))
        case Iterable() as several:
            return "".join(it if isinstance(it, Markup) else escape(str(it)) for it in several)
        case value:
            return escape(format(value, part.format_spec))
