"""`interpool explain`: what would happen to an object on its way to a worker, as a tree."""

import json
from typing import Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text
from rich.tree import Tree

from interpool._cli import completion
from interpool._cli.command import Command
from interpool._cli.output import writing
from interpool._cli.targets import found
from interpool._explain import Explanation, explain

_STYLES: Final = {
    "by reference": "green",
    "by value": "cyan",
    "out of band": "blue",
    "refused": "bold red",
    "shown above": "dim",
}
# Columns where the output is no terminal: nothing is cut off, for a path needs its end.
_WIDTH_OF_FILES: Final = 10_000


@click.command(
    cls=Command,
    name="explain",
    short_help="Say how an object would be sent, or why not.",
    epilog="""\b
Examples:
  interpool explain statistics:mean
  interpool explain mypackage.jobs:Trainer.run
  interpool explain mypackage.jobs:TABLE --json
  interpool explain --script myscript:work

Exits with 1 if it cannot be sent.""",
)
@click.argument("target", metavar="MODULE:NAME", shell_complete=completion.objects)
@click.option(
    "--script", "is_script", is_flag=True, help="As if MODULE were the program that runs."
)
@click.option("--json", "is_json", is_flag=True, help="Write the tree as JSON.")
def command(*, target: str, is_script: bool, is_json: bool) -> int:
    """Say how an object would be sent to a worker, or why it would not.

    NAME is a function, a class or anything else that MODULE holds; a dot leads to an attribute.
    The module is imported; the current folder is searched first. The tree shows what goes along:
    globals, closure variables, and what is large or to blame among elements and attributes.

    What a worker can import goes by reference. The functions and classes of a program that is run,
    as a script or at the prompt, go by value: --script shows that.
    """
    explanation = explain(found(target, is_script=is_script))
    with writing():
        if is_json:
            click.echo(json.dumps({"target": target} | explanation.as_dict(), indent=2))
        else:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = _WIDTH_OF_FILES
            console.print(_tree(explanation, target))
    return 0 if explanation.is_sendable else 1


def _tree(explanation: Explanation, name: str) -> Tree:
    tree = Tree(_line(explanation, name), guide_style="dim")
    for part in explanation.parts:
        tree.add(_tree(part, part.name))
    if explanation.omitted:
        tree.add(Text(f"{explanation.omitted:,} more", style="dim"))
    return tree


def _line(explanation: Explanation, name: str) -> Text:
    style = _STYLES[explanation.how]
    line = Text.assemble((name, "bold"), f"  {explanation.type_name}  ", (explanation.how, style))
    if explanation.reference:
        line.append(f" as {explanation.reference}")
    if explanation.nbytes is not None:
        line.append(f"  {decimal(explanation.nbytes)}", style="dim")
    if explanation.reason:
        line.append(f": {explanation.reason}")
    if explanation.hint:
        line.append(f". {explanation.hint}", style="italic")
    return line
