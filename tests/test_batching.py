"""Sizes of pieces: worth sending, never so large that the others wait, whatever is measured."""

from hypothesis import given
from hypothesis import strategies as st

from interpool._batching import AHEAD, PIECE, Batcher, Paces

workers = st.integers(1, 64)
seconds = st.floats(1e-8, 100)


def learned(workers: int, seconds: float) -> Batcher:
    """A batcher that has measured the same for long."""
    batcher = Batcher(workers)
    for _ in range(12):
        batcher.learn(1, seconds)
    return batcher


def test_it_begins_with_single_items_and_grows_from_one_measurement_to_the_next() -> None:
    batcher = Batcher(2)
    sizes = []
    for _ in range(6):
        sizes.append(batcher.size(10**6, is_all=True))
        batcher.learn(sizes[-1], sizes[-1] * 1e-7)
    assert sizes == [1, 8, 64, 512, 4096, 20_000]


@given(workers=workers, seconds=seconds, left=st.integers(1, 10**7), is_all=st.booleans())
def test_a_piece_is_worth_what_it_is_to_take_and_a_share_of_what_is_left(
    workers: int, seconds: float, left: int, *, is_all: bool
) -> None:
    size = learned(workers, seconds).size(left, is_all=is_all)
    assert 1 <= size <= left
    assert size == 1 or size * seconds <= PIECE * 1.001
    assert not is_all or size == 1 or size * workers * 2 <= left


@given(workers=workers, seconds=seconds, left=st.integers(1, 10**5))
def test_pieces_shrink_towards_the_end(workers: int, seconds: float, left: int) -> None:
    batcher = learned(workers, seconds)
    sizes = []
    while left:
        sizes.append(batcher.size(left, is_all=True))
        left -= sizes[-1]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def test_slower_counts_at_once_and_faster_by_half() -> None:
    batcher = learned(1, 1e-6)
    batcher.learn(1, PIECE)
    assert batcher.size(10**6, is_all=True) == 1
    for _ in range(20):
        batcher.learn(1, 1e-6)
    assert batcher.size(10**6, is_all=True) > 1_000


def test_a_measurement_of_nothing_is_no_division_by_zero() -> None:
    batcher = Batcher(1)
    batcher.learn(5, 0.0)
    assert batcher.size(100, is_all=True) == 8


@given(workers=workers, seconds=seconds, pieces=st.integers(0, 500), items=st.integers(0, 10**6))
def test_enough_waits_when_no_worker_will_run_dry(
    workers: int, seconds: float, pieces: int, items: int
) -> None:
    is_enough = learned(workers, seconds).is_enough(pieces, items)
    assert is_enough == (pieces >= workers and items * seconds >= AHEAD * workers)


def test_without_a_measurement_a_piece_for_each_worker_is_enough() -> None:
    batcher = Batcher(3)
    assert not batcher.is_enough(2, 10**6)
    assert batcher.is_enough(3, 3)
    assert batcher.is_learning


def test_a_pace_is_the_first_guess_of_the_next_map() -> None:
    paces = Paces()
    paces.note(7, 1e-5)
    assert Batcher(1, paces.get(7)).size(10**6, is_all=True) == int(PIECE / 1e-5)
    assert paces.get(8) is None
    paces.note(0, 1e-5)  # of a definition that is not kept
    assert paces.get(0) is None


def test_paces_are_bounded() -> None:
    paces = Paces()
    for key in range(1, 2_000):
        paces.note(key, 1.0)
    assert paces.get(1) is None
    assert paces.get(1_999) == 1.0
    assert len(paces._seconds) <= 512
