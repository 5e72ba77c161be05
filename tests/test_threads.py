"""Many quantities in threads: the figures are those of one, in the same order."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from harness.metrics import threads
from harness.metrics.sample import Sample
from harness.metrics.threads import BLOCK, blocks_of, cached, each
from harness.ranks import normal_scores


@pytest.fixture(params=[1, 3], autouse=True)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many cores there seem to be."""
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("count", [0, 1, 2, 15])
def test_results_have_the_order_of_their_items(count: int, cores: int) -> None:
    """However many there are, and at most a few are worked on before they are asked for."""
    begun: list[int] = []

    def work(i: int) -> int:
        begun.append(i)
        return i * i

    for at, result in enumerate(each(work, range(count))):
        assert result == at * at
        assert len(begun) <= at + 1 + 2 * cores
    assert sorted(begun) == list(range(count))


def test_one_item_stays_in_the_callers_thread_and_many_do_not(cores: int) -> None:
    """A thread is worth its while for several only."""
    here = threading.get_ident()
    assert set(each(lambda _: threading.get_ident(), range(1))) == {here}
    there = set(each(lambda _: threading.get_ident(), range(100)))
    assert (there == {here}) is (cores == 1)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 200, 602, 10_000])
def test_blocks_cover_all_in_their_order(count: int, cores: int) -> None:
    """None is too large, and each core gets about as many, unless they are few."""
    blocks = blocks_of(range(count))
    assert [i for block in blocks for i in block] == list(range(count))
    sizes = [len(block) for block in blocks]
    assert max(sizes, default=0) <= BLOCK
    assert len(blocks) in {0, 1} or len(blocks) % cores == 0


def test_what_is_wrong_with_an_item_is_raised() -> None:
    """As if it had been worked on in the caller's thread."""
    with pytest.raises(ZeroDivisionError):
        list(each(lambda i: 1 // (i - 90), range(100)))


def test_items_that_are_not_asked_for_are_not_begun() -> None:
    """Who stops looking at results, as by an interrupt, waits for what is under way only."""
    begun: list[int] = []
    found = each(begun.append, range(1000))
    next(found)
    found.close()
    assert len(begun) < 20


def test_numpys_errors_are_those_of_the_caller() -> None:
    """An overflow that the caller ignores is no warning in a thread."""
    huge = np.full(3, 1e300)
    with np.errstate(over="ignore"):
        assert all(np.isinf(x).all() for x in each(lambda _: huge * huge, range(100)))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        list(each(lambda _: huge * huge, range(100)))


def test_a_cached_property_is_computed_once_for_each_object() -> None:
    """Later calls find the value on the object."""

    class Counted:
        times = 0

        @cached
        def value(self) -> int:
            """A number."""
            self.times += 1
            return self.times

    one, two = Counted(), Counted()
    assert (one.value, one.value, two.value) == (1, 1, 1)
    assert Counted.value.__doc__ == "A number."


@pytest.mark.parametrize("draws", [50, 51])
def test_scores_and_ranks_share_one_order(draws: int) -> None:
    """Ranks of equal draws are the lowest, and scores those of the halves, whatever is odd."""
    x = np.round(np.random.default_rng(1).normal(size=(3, draws)), 1)
    sample = Sample(x, iid=False)
    np.testing.assert_array_equal(sample._lowest_ranks, np.searchsorted(np.sort(x, axis=None), x))
    half = draws // 2
    halves = np.concatenate([x[:, :half], x[:, draws - half :]])
    expected = normal_scores(halves.reshape(-1, 1)).reshape(halves.shape)
    np.testing.assert_array_equal(sample.scores, expected)
