"""Many quantities in threads: the figures are those of one, in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from harness.metrics import threads
from harness.metrics.sample import Sample
from harness.metrics.threads import ahead, cached, each
from harness.ranks import normal_scores


@pytest.fixture(params=[1, 3], autouse=True)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many cores there seem to be."""
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 14])
def test_results_have_the_order_of_their_items(count: int) -> None:
    """However many blocks they fill, and the next block is asked for when one is done."""
    asked: list[int] = []
    done: list[int] = []

    def items() -> Iterator[int]:
        for i in range(count):
            assert len(done) >= 5 * (i // 5)
            asked.append(i)
            yield i

    for result in each(lambda i: i * i, items(), at_once=5, least=5):
        done.append(result)  # noqa: PERF402 - its length is looked at meanwhile
    assert done == [i * i for i in range(count)]
    assert asked == list(range(count))
    assert list(ahead(lambda i: -i, range(count))) == [-i for i in range(count)]


def test_few_items_stay_in_the_callers_thread_and_many_do_not(cores: int) -> None:
    """A thread is worth its while for many only."""
    here = threading.get_ident()
    assert set(each(lambda _: threading.get_ident(), range(4), least=5)) == {here}
    there = set(each(lambda _: threading.get_ident(), range(100)))
    assert (there == {here}) is (cores == 1)


def test_what_is_wrong_with_an_item_is_raised() -> None:
    """As if it had been worked on in the caller's thread."""
    with pytest.raises(ZeroDivisionError):
        list(each(lambda i: 1 // (i - 90), range(100)))
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda i: 1 // (i - 2), range(4)))


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
