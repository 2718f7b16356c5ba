"""A grid search with joblib, in pure Python: which neighbours, and how weighted, tell best?

Every pair of settings is tried by cross-validation, on interpreters, while this collects results.

Run it, where joblib is installed:

    python examples/joblib_grid_search.py
"""

import argparse
import itertools
import math
import random

import joblib

import interpool.joblib

type Point = tuple[float, float, int]
"""Two coordinates, and the class: whether it is inside the ring."""


def points(count: int) -> list[Point]:
    """Make points in a square, some of them with the wrong class."""
    chance = random.Random(7)  # noqa: S311 - the same points at every run
    made = []
    for _ in range(count):
        x, y = chance.uniform(-1, 1), chance.uniform(-1, 1)
        is_inside = 0.4 < math.hypot(x, y) < 0.8
        made.append((x, y, int(is_inside ^ (chance.random() < 0.1))))
    return made


def score(data: list[Point], neighbours: int, power: float, folds: int = 5) -> float:
    """Return the share of points that are told right by their neighbours in the other folds."""
    right = 0
    for fold in range(folds):
        known = [point for at, point in enumerate(data) if at % folds != fold]
        for x, y, kind in data[fold::folds]:
            near = sorted((math.hypot(x - a, y - b), it) for a, b, it in known)[:neighbours]
            votes = [0.0, 0.0]
            for distance, it in near:
                votes[it] += 1 / (distance + 1e-9) ** power
            right += votes[kind] > votes[1 - kind]
    return right / len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for the best settings.")
    parser.add_argument("points", type=int, nargs="?", default=400, help="how many there are")
    data = points(parser.parse_args().points)
    grid = list(itertools.product((1, 3, 9, 27), (0.0, 1.0, 2.0)))
    interpool.joblib.register()
    with joblib.parallel_config(backend="interpool"):
        search = joblib.Parallel(return_as="generator")
        scores = search(joblib.delayed(score)(data, *settings) for settings in grid)
        found = dict(zip(grid, scores, strict=True))
    for (neighbours, power), share in sorted(found.items(), key=lambda it: -it[1])[:3]:
        print(f"{neighbours:2} neighbours, power {power:.0f}: {share:.1%} right")


if __name__ == "__main__":
    main()
