"""What a shell offers where a module, a function or a file is to be typed.

Click's own scripts are used, but for bash, which takes `jobs:clean` for three words.
"""

import os
from typing import TYPE_CHECKING, Final, override

from click.shell_completion import BashComplete, add_completion_class, split_arg_string

from interpool._cli import names

if TYPE_CHECKING:
    import click


def modules(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Return modules whose names begin like this."""
    return _modules(begun)


def functions(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Return what `MODULE:FUNCTION` may be; if one module alone is left, its functions at once."""
    return _targets(begun, is_function=True)


def objects(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Return the same of all that a module defines."""
    return _targets(begun, is_function=False)


def _targets(target: str, *, is_function: bool) -> list[str]:
    module, colon, begun = target.partition(":")
    if not colon:
        found = _modules(target)
        if len(found) != 1 or names.is_package(found[0]):
            return [f"{it}:" for it in found]
        module = found[0]
    there = names.defined_in(module, is_function=is_function)
    is_private = begun.startswith("_")
    return [
        f"{module}:{name}"
        for name in there
        if name.startswith(begun) and (is_private or not name.startswith("_"))
    ]


def _modules(begun: str) -> list[str]:
    """Return modules whose names begin like this: not private ones, unless that is typed."""
    is_private = begun.rpartition(".")[2].startswith("_")
    return sorted(
        name
        for name in set(names.modules_near(begun))
        if name.startswith(begun) and (is_private or not name.rpartition(".")[2].startswith("_"))
    )


# Bash splits words at colons, and puts in place of the last part alone what is chosen; no space is
# to follow a module's name. COMP_TYPE and the like are of no use here.
_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n' response type value before
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDS="${COMP_WORDS[*]}" \\
        COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
    before=${COMP_LINE:0:COMP_POINT}
    before=${before##*[[:space:]]}
    [[ $COMP_WORDBREAKS == *:* && $before == *:* ]] || before=
    before="${before%%:*}${before:+:}"
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("${value#"$before"}")
                if [[ $value == *: ]]; then compopt -o nospace; fi
                ;;
        esac
    done <<<"$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    source_template = _BASH

    @override
    def get_completion_args(self) -> tuple[list[str], str]:
        if "COMP_LINE" not in os.environ:  # a script of click's own, from an earlier version
            return super().get_completion_args()
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        is_begun = bool(line) and not line[-1].isspace()
        return (words[1:-1], words[-1]) if is_begun else (words[1:], "")


def register() -> None:
    """Have click use it."""
    add_completion_class(_Bash)
