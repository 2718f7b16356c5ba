"""What one module's source says of itself.

The workers import this and nothing else of the demo, so it imports little.
"""

import ast
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple, cast

# Sources are measured here, not reviewed.
warnings.filterwarnings("ignore", category=SyntaxWarning)

# What opens an indented block.
_BLOCKS = frozenset(
    {
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.If,
        ast.For,
        ast.AsyncFor,
        ast.While,
        ast.With,
        ast.AsyncWith,
        ast.Try,
        ast.TryStar,
        ast.Match,
    }
)
# What adds one more way through a function: T. J. McCabe, "A Complexity Measure" (1976).
_BRANCHES = frozenset(
    {
        ast.If,
        ast.IfExp,
        ast.For,
        ast.AsyncFor,
        ast.While,
        ast.ExceptHandler,
        ast.match_case,
        ast.comprehension,
    }
)


class Module(NamedTuple):
    """The measures of one module."""

    path: str
    lines: int
    functions: int
    classes: int
    nesting: int  # blocks within blocks, where they are deepest
    complexity: int  # McCabe's, the sum of all functions
    hardest: str  # the function whose complexity is highest, by its qualified name
    hardest_complexity: int
    names: dict[str, int]  # how often each name is used


class Unreadable(NamedTuple):
    """A file that is no source of this Python, and why."""

    path: str
    reason: str


def measure(path: str) -> Module | Unreadable:
    """Read, parse and measure one file. A task of the demo is one call of this."""
    try:
        source = Path(path).read_bytes()
        census = _Census()
        census.visit(ast.parse(source, path))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return Unreadable(path, f"{type(error).__name__}: {error}")
    paths = [function.paths for function in census.functions]
    hardest = max(census.functions, key=lambda function: function.paths, default=None)
    return Module(
        path=path,
        lines=len(source.splitlines()),
        functions=len(paths),
        classes=census.classes,
        nesting=census.nesting,
        complexity=sum(paths),
        hardest=hardest.name if hardest else "",
        hardest_complexity=hardest.paths if hardest else 0,
        names=dict(census.names),
    )


class _Function:
    """A function while it is being measured."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.paths = 1


class _Census(ast.NodeVisitor):
    """Walks one module's tree and counts."""

    def __init__(self) -> None:
        self.functions: list[_Function] = []
        self.classes = 0
        self.nesting = 0
        self.names: Counter[str] = Counter()
        # Where the walk is: the names around it, the functions around it, the blocks' columns.
        self._scope: list[str] = []
        self._within: list[_Function] = []
        self._columns: list[int] = [-1]

    def visit_Name(self, node: ast.Name) -> None:
        self.names[node.id] += 1

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.classes += 1
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._scope.append(node.name)
        function = _Function(".".join(self._scope))
        self.functions.append(function)
        self._within.append(function)
        self.generic_visit(node)
        self._within.pop()
        self._scope.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._add_paths(len(node.values) - 1)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._add_paths(len(node.ifs))
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        kind = type(node)
        if kind in _BRANCHES:
            self._add_paths(1)
        # An elif is an if within the else. It is no deeper, which its column shows.
        column = cast("ast.stmt", node).col_offset if kind in _BLOCKS else -1
        if column > self._columns[-1]:
            self._columns.append(column)
            self.nesting = max(self.nesting, len(self._columns) - 1)
            super().generic_visit(node)
            self._columns.pop()
        else:
            super().generic_visit(node)

    def _add_paths(self, paths: int) -> None:
        if self._within:
            self._within[-1].paths += paths
