import math

import numpy as np
import pytest

from simulator.request.kernel import attempts
from simulator.request.kernel.codes import BINS
from simulator.request.latency import LatencyBook, bin_edges, latency_bin, quantiles


def test_every_latency_lies_in_its_bin():
    bounds = bin_edges()
    for x in np.geomspace(1.1e-6, 4000.0, 5000):
        i = latency_bin(float(x))
        assert bounds[i] <= x < bounds[i + 1]
        assert 1 / 64 <= bounds[i + 1] / bounds[i] - 1 <= 1 / 32 + 1e-12


def test_kernel_and_twin_find_the_same_bin():
    tried = [
        0.0,
        1e-9,
        0.25,
        1.0,
        math.nextafter(1.0, 0),
        4095.9,
        1e6,
        *np.geomspace(1e-7, 1e4, 999),
    ]
    for x in tried:
        assert attempts.latency_bin(float(x)) == latency_bin(float(x))


def test_what_is_outside_goes_to_the_ends():
    assert latency_bin(0.0) == 0
    assert latency_bin(1e-9) == 0
    assert latency_bin(1e9) == BINS - 1


def test_quantiles_of_a_known_sample_are_within_a_bin():
    drawn = np.random.default_rng(3).exponential(0.2, 100_000)
    counts = np.bincount([latency_bin(float(x)) for x in drawn], minlength=BINS)
    shares = np.array([0.01, 0.5, 0.9, 0.99, 0.999])
    assert quantiles(counts, shares) == pytest.approx(np.quantile(drawn, shares), rel=1 / 32)


def test_quantiles_of_nothing_and_wrong_shares():
    assert np.isnan(quantiles(np.zeros(BINS, np.int64), 0.5))
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantiles(np.zeros(BINS, np.int64), 50)


def test_a_book_gives_back_what_was_put_into_it():
    dense = np.random.default_rng(4).integers(0, 3, (7, 2, BINS)).astype(np.int32)
    book = LatencyBook(2)
    book.add(dense[:4])
    book.add(dense[4:])
    again = LatencyBook.of(book.state())
    for one in (book, again):
        assert (one.between(1, 2, 5) == dense[2:5, 1].sum(axis=0)).all()
        assert (one.between(0, 0, 7) == dense[:, 0].sum(axis=0)).all()
        assert (one.between(0, 3, 3) == 0).all()
    assert LatencyBook.of(LatencyBook(2).state()).rows == []
