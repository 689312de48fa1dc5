"""Sparse solvers: stationary state, mean first passages, relaxation (MODEL.md, A9-A11)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from simulator.analytic.drift import equilibria
from simulator.errors import UsageError

if TYPE_CHECKING:
    from simulator.analytic.chain import PoolChain

__all__ = ["Stationary", "longest_s", "mean_passage", "relaxation_s", "stationary", "stuck_queue"]

CUT_MASS_MAX: Final = 1e-6
"""Largest stationary mass at a cut of the chain."""
SMALL: Final = 50
"""States up to which all eigenvalues are computed."""
PRECISION: Final = 1e-3
"""Largest relative error of a solution that rounding may cause."""


@dataclass(frozen=True)
class Stationary:
    """Stationary state of a chain.

    Parameters
    ----------
    chain : PoolChain
        The chain.
    mass : numpy.ndarray
        ``(c + K + 1, orbit bound + 1)`` float64, sums to 1.
    """

    chain: PoolChain
    mass: np.ndarray

    @cached_property
    def _queue(self) -> np.ndarray:
        shares: np.ndarray = self.mass.sum(axis=1)
        return shares

    @property
    def in_system(self) -> float:
        """Mean number of attempts in the pool."""
        return float(np.arange(len(self._queue)) @ self._queue)

    @property
    def waiting(self) -> float:
        """Mean number of attempts that wait."""
        n = np.arange(len(self._queue))
        return float(np.maximum(n - self.chain.servers, 0) @ self._queue)

    @property
    def orbit(self) -> float:
        """Mean number of first tries in orbit."""
        return float(np.arange(self.mass.shape[1]) @ self.mass.sum(axis=0))

    @property
    def attempts_rps(self) -> float:
        """Attempts per second, rejected ones included."""
        retries = float(self.chain.retries_rps @ self.mass.sum(axis=0))
        return self.chain.first_tries_rps + retries

    @property
    def served_rps(self) -> float:
        """Ends of service per second, useful and not."""
        return float(self.chain.completions_rps @ self._queue)

    @property
    def good_rps(self) -> float:
        """First tries answered in time per second."""
        arrivals = self.chain.first_tries_rps + self.chain.retries_rps
        return float((1.0 - self.chain.failing) @ self.mass @ arrivals)

    @property
    def success_frac(self) -> float:
        """Share of first tries that are answered in time."""
        return self.good_rps / self.chain.first_tries_rps

    @property
    def wasted_frac(self) -> float:
        """Share of the service that is spent on dead work."""
        return max(0.0, 1.0 - self.good_rps / self.served_rps)

    @property
    def stuck_frac(self) -> float:
        """Share of time at or above the zombie line."""
        return float(self._queue[stuck_queue(self.chain) :].sum())

    @property
    def cut_mass(self) -> float:
        """Mass at the cuts: the error of truncation."""
        chain = self.chain
        orbit = float(self.mass[:, -1].sum()) if chain.retries else 0.0
        return orbit + (float(self._queue[-1]) if chain.unbounded else 0.0)


def stuck_queue(chain: PoolChain) -> int:
    """Return the least ``n`` at or above the zombie line, ``c + q*``; may be beyond the room."""
    line = chain.servers + chain.zombie_line
    return math.ceil(line) if math.isfinite(line) else chain.queue_max + 1


def stationary(chain: PoolChain, *, highest: int | None = None) -> Stationary:
    """Return the stationary state, by a sparse LU factorisation (A9).

    Parameters
    ----------
    chain : PoolChain
        The chain.
    highest : int, optional
        Largest ``n`` allowed: moves above it do not happen. With one less than the zombie line
        this is the good state alone, however seldom it is left.

    Raises
    ------
    UsageError
        If the cut of an unbounded queue or of the orbit holds more than a millionth of the mass,
        or if the two states hold each other off so long that rounding decides their shares.
    """
    pinned = _pinned(chain, highest)
    if not pinned.error <= PRECISION:
        msg = (
            "the good and the bad state leave each other too seldom: rounding would decide "
            "their shares"
        )
        raise UsageError(msg)
    whole = np.zeros(chain.n_states)
    whole[: len(pinned.mass)] = pinned.mass
    found = Stationary(chain, whole.reshape(chain.shape))
    if found.cut_mass > CUT_MASS_MAX:
        raise UsageError(_cut_too_low(found))
    return found


def _cut_too_low(found: Stationary) -> str:
    """Say which cut of the chain holds too much mass."""
    chain = found.chain
    cure = f"raise orbit_max above {chain.orbit_bound:,}"
    if chain.unbounded and float(found.mass[-1].sum()) > CUT_MASS_MAX:
        cure = (
            f"the unbounded queue reaches {chain.queue_max:,}; give it a waiting room, or lower "
            "the load"
        )
    return (
        f"the cut of the chain holds {found.cut_mass:.1e} of the stationary mass, more than "
        f"{CUT_MASS_MAX:.0e}: {cure}"
    )


def _restricted(generator: sparse.csr_array, size: int) -> sparse.csr_array:
    """Return the generator of the first states alone; moves out of them do not happen."""
    if size == generator.shape[0]:
        return generator
    inner = generator[:size][:, :size]
    return (inner - sparse.diags_array(inner.sum(axis=1))).tocsr()


@dataclass(frozen=True)
class _Pinned:
    """A generator without one state, factorised, and what follows from that."""

    reference: int
    factors: linalg.SuperLU | None
    mass: np.ndarray
    """(states,) stationary mass."""
    error: float
    """Relative error that rounding may have caused; infinite if it decides."""


def _pinned(chain: PoolChain, highest: int | None) -> _Pinned:
    """Return the chain pinned at an equilibrium, or if need be at what looks likeliest from there.

    Seen from its likeliest state the system is as well conditioned as the chain itself. It is kept
    with the chain, as its generator is: stationary state and gap need the same.
    """
    known: dict[int | None, _Pinned] = chain.__dict__.setdefault("_pinned", {})
    if highest not in known:
        top = chain.queue_max if highest is None else highest
        generator = _restricted(chain.generator, (top + 1) * chain.shape[1])
        state = equilibria(chain)[0]
        inside = state.queue <= top
        orbit = min(round(state.orbit), chain.orbit_bound)
        start = chain.state(round(state.queue), orbit) if inside else 0
        first = _pin(generator, min(start, generator.shape[0] - 1))
        good = first.error <= PRECISION
        known[highest] = first if good else _pin(generator, int(np.argmax(first.mass)))
    return known[highest]


def _pin(generator: sparse.csr_array, reference: int) -> _Pinned:
    """Solve the stationary state from one state's, and how far away that is from the others."""
    size = generator.shape[0]
    mass = np.ones(size)
    if size == 1:
        return _Pinned(reference, None, mass, 0.0)
    rest = np.arange(size) != reference
    inner = generator[rest][:, rest].tocsc()
    factors = _factors(inner)
    if factors is None:
        return _Pinned(reference, None, mass / size, math.inf)
    source = -generator[[reference]].toarray()[0][rest]
    mass[rest] = np.maximum(factors.solve(source, trans="T"), 0.0)
    times_s = factors.solve(-np.ones(size - 1))
    # Rounding adds a rate of about eps times the fastest out of any state: it must not matter in
    # the time that the reference takes to reach.
    far_s = float(times_s.max()) if times_s.min() >= 0.0 else math.inf
    fastest = float(-generator.diagonal().min())
    error = float(np.finfo(np.float64).eps) * fastest * far_s
    return _Pinned(reference, factors, mass / mass.sum(), error)


def _factors(matrix: sparse.csc_array) -> linalg.SuperLU | None:
    """Factorise a diagonally dominant matrix; None if rounding has made it singular.

    Its own diagonal are good pivots, so that the order can be chosen for sparsity alone.
    """
    try:
        return linalg.splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # all that SuperLU raises: a pivot is exactly zero
        return None


def mean_passage(chain: PoolChain, target: np.ndarray) -> np.ndarray:
    """Return the mean time until the chain first enters ``target`` (A10).

    Parameters
    ----------
    chain : PoolChain
        The chain.
    target : numpy.ndarray
        ``(c + K + 1, orbit bound + 1)`` bool; at least one state.

    Returns
    -------
    numpy.ndarray
        ``(c + K + 1, orbit bound + 1)`` float64 (s), 0 on the target. Infinite where the time
        is longer than :func:`longest_s`.
    """
    assert target.shape == chain.shape
    assert target.any()
    outside = ~target.ravel()
    times_s = np.zeros(chain.n_states)
    if outside.any():
        inner = chain.generator[outside][:, outside].tocsc()
        factors = _factors(inner)
        size = inner.shape[0]
        times_s[outside] = (
            np.full(size, np.inf) if factors is None else factors.solve(-np.ones(size))
        )
    lost = (times_s > longest_s(chain)) | (times_s < 0.0)
    return np.where(lost, np.inf, times_s).reshape(chain.shape)


def longest_s(chain: PoolChain) -> float:
    """Return the longest mean passage (s) that rounding leaves three digits of."""
    fastest = float(-chain.generator.diagonal().min())
    return PRECISION / (float(np.finfo(np.float64).eps) * fastest)


def relaxation_s(chain: PoolChain) -> float:
    """Return the relaxation time (s): one over the spectral gap of the generator (A11).

    Infinite where the gap is too small to be told from zero.
    """
    if chain.n_states <= SMALL:
        values = np.sort(-np.linalg.eigvals(chain.generator.toarray()).real)[1:2]
    else:
        pinned = _pinned(chain, None)
        if not pinned.error <= PRECISION:
            return math.inf
        values = -linalg.eigs(
            chain.generator,
            k=1,
            sigma=0.0,
            OPinv=linalg.LinearOperator(
                chain.generator.shape, matvec=partial(_without_rest, pinned), dtype=np.float64
            ),
            # Not by chance; and not constant, which is the eigenvector of 0.
            v0=np.linspace(1.0, 2.0, chain.n_states),
            return_eigenvectors=False,
        ).real
    gap = float(values.min())
    return 1.0 / gap if gap * longest_s(chain) > 1.0 else math.inf


def _without_rest(pinned: _Pinned, right: np.ndarray) -> np.ndarray:
    """Solve ``Q x = right - (mass . right) 1`` with ``mass . x = 0``.

    On what is orthogonal to the stationary mass this is the inverse of ``Q``; elsewhere it is 0,
    so that the eigenvalue 0 of ``Q`` is out of the way (group inverse; Meyer, SIAM Review 17,
    1975).
    """
    assert pinned.factors is not None
    moved = right.ravel() - pinned.mass @ right.ravel()
    rest = np.arange(len(moved)) != pinned.reference
    found = np.zeros(len(moved))
    found[rest] = pinned.factors.solve(moved[rest])
    centred: np.ndarray = found - pinned.mass @ found
    return centred
