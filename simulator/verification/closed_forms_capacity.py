"""Closed forms of pools whose capacity depends on their state, each with its source.

λ: first tries per second, C: capacity, s: service time, T: timeout, r: retries, h: hit ratio.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize_scalar
from scipy.special import gammaincc, ive

from simulator.verification.closed_forms import erlang_c, mmc_tail

_STEPS: Final = 4001
"""Grid on which an extremum is found before it is refined."""


# ------------------------------------------------------------------- capacity against backlog


def contended_time_s(rate: float, service_s: float, per_attempt_s: float) -> float:
    """Return the time of a service that takes ``s + ε·n`` with n present: ``s/(1 - ε·a)``.

    With no other limit n = a times the time (Little, Operations Research 9(3), 1961); infinite
    from ``a = 1/ε`` on.
    """
    left = 1.0 - per_attempt_s * rate
    return service_s / left if left > 0.0 else math.inf


def contended_threshold(
    service_s: float, per_attempt_s: float, timeout_s: float, retries: int
) -> float:
    """Return the load above which contention keeps all attempts too slow: ``(T - s)/(ε·T·(r+1))``.

    Services take T with ``n_c = (T - s)/ε`` present, which ``a_c = n_c/T`` attempts per second
    sustain; if all attempts fail, ``a = (r+1)·λ``.
    """
    return (timeout_s - service_s) / (per_attempt_s * timeout_s) / (retries + 1)


def degraded_threshold(capacity: float, retries: int, work: float) -> float:
    """Return the load above which overload sustains itself when it makes work dearer.

    References
    ----------
    Huang et al., *Metastable Failures in the Wild*, OSDI 2022, theorem 2: ``C/(w_L*·w_C*)``, load
    times ``w_L* = r + 1`` and work times ``w_C*`` in the bad state.
    """
    return capacity / ((retries + 1) * work)


# ------------------------------------------------------------------------- a cache that fills


def unhindered_refill_s(lam: float, hit_max: float, keys: float, part: float) -> float:
    """Return the time in which an empty cache fills to a part of ``hit_max``, all misses answered.

    ``dh/dt = (h_max/N)·λ·(h_max - h)``: the misses λ·(1 - h) cancel what a miss finds.
    """
    return -math.log1p(-part) * keys / (hit_max * lam)


def refill_s(lam: float, capacity: float, hit_max: float, keys: float, part: float) -> float:
    """Return the same when at most ``capacity`` misses per second are answered, by integration."""

    def growth(_t: float, h: np.ndarray) -> np.ndarray:
        answered = np.minimum(lam * (1.0 - h), capacity)
        return np.asarray(hit_max / keys * answered * (hit_max - h) / (1.0 - h))

    def filled(_t: float, h: np.ndarray) -> float:
        return float(h[0]) - part * hit_max

    filled.terminal = True  # type: ignore[attr-defined]
    longest = 10.0 * unhindered_refill_s(min(lam, capacity), hit_max, keys, part)
    found = solve_ivp(
        growth, (0.0, longest), [0.0], events=filled, rtol=1e-9, atol=1e-12, max_step=longest / 500
    )
    times = found.t_events[0]
    return float(times[0]) if len(times) else math.inf


# ----------------------------------------------------------------- overload map with retries


def late_in_mmc(rate: float, mu: float, servers: int, timeout_s: float) -> float:
    """Return the share of attempts that M/M/c answers too late; all of them from c·μ on."""
    return mmc_tail(rate, mu, servers, timeout_s) if rate < servers * mu else 1.0


def late_in_mm1k(rate: float, mu: float, most: int, timeout_s: float) -> float:
    """Return the share of attempts that M/M/1/K rejects or answers too late.

    An attempt that finds n leaves after n + 1 services (Kleinrock I, 1975, section 3.6).
    """
    n = np.arange(most + 1)
    logs = n * math.log(rate / mu)
    p = np.exp(logs - logs.max())
    p /= p.sum()
    late = gammaincc(n[:-1] + 1.0, mu * timeout_s)
    return float(p[-1] + p[:-1] @ late)


def load_of(attempts: float, late: float, retries: int) -> float:
    """Return the first tries per second that make so many attempts: ``a·(1 - p)/(1 - p^(r+1))``."""
    if late >= 1.0:
        return attempts / (retries + 1)
    return attempts * (1.0 - late) / (1.0 - late ** (retries + 1))


def upper_fold(mu: float, servers: int, timeout_s: float, retries: int) -> float:
    """Return the largest load of the good state, the maximum of :func:`load_of` in M/M/c."""

    def load(rate: float) -> float:
        return load_of(rate, late_in_mmc(rate, mu, servers, timeout_s), retries)

    rates = np.linspace(0.02, 0.99995, _STEPS) * servers * mu
    return _extremum(load, rates, sign=-1.0)


def folds_of_mm1k(mu: float, most: int, timeout_s: float, retries: int) -> tuple[float, float]:
    """Return (upper, lower) fold of the map in M/M/1/K: largest good load, smallest bad one."""

    def load(rate: float) -> float:
        return load_of(rate, late_in_mm1k(rate, mu, most, timeout_s), retries)

    up = _extremum(load, np.linspace(0.02, 1.0, _STEPS) * mu, sign=-1.0)
    down = _extremum(load, np.linspace(1.0, retries + 1.0, _STEPS) * mu, sign=1.0)
    return up, down


def _extremum(load: object, rates: np.ndarray, *, sign: float) -> float:
    assert callable(load)
    values = sign * np.array([load(float(x)) for x in rates])
    k = int(np.argmin(values))
    low, high = rates[max(0, k - 1)], rates[min(len(rates) - 1, k + 1)]
    found = minimize_scalar(lambda x: sign * load(x), bounds=(low, high), method="bounded")
    return sign * float(found.fun)


# ------------------------------------------------------------------------------- loops with delay


def largest_gain(delay_steps: int) -> float:
    """Return the gain below which an integrating loop with d steps of delay is stable.

    ``x_(n+1) = x_n - g·x_(n-d)``: roots of ``z^(d+1) - z^d + g`` inside the unit circle iff
    ``0 < g < 2·sin(π/(2·(2d+1)))``.

    References
    ----------
    Levin, May, *A note on difference-delay equations*, Theoretical Population Biology 9, 1976;
    Kuruklis, *The asymptotic stability of x_(n+1) - a·x_n + b·x_(n-k) = 0*, Journal of
    Mathematical Analysis and Applications 188, 1994.
    """
    return 2.0 * math.sin(math.pi / (2.0 * (2 * delay_steps + 1)))


def growth_per_step(gain: float, delay_steps: int) -> float:
    """Return the largest modulus of the roots of ``z^(d+1) - z^d + g``."""
    poly = np.zeros(delay_steps + 2)
    poly[0] = 1.0
    poly[1] -= 1.0
    poly[-1] += gain
    return float(np.abs(np.roots(poly)).max())


# -------------------------------------------------------------------------------- up and down


def availability(up_mean: float, down_mean: float) -> float:
    """Return the share of time up, ``MTTF/(MTTF + MTTR)``, whatever the two laws."""
    return up_mean / (up_mean + down_mean)


def variance_of_average_markov(fail_rate: float, repair_rate: float, window: float) -> float:
    """Return the variance of the share of time up in a window, both laws exponential.

    The state is correlated with itself as ``A·(1 - A)·exp(-(f + m)·t)``; integrated twice.
    """
    a = repair_rate / (fail_rate + repair_rate)
    x = (fail_rate + repair_rate) * window
    return 2.0 * a * (1.0 - a) / x * (1.0 + math.expm1(-x) / x)


def variance_of_average_renewal(
    up_mean: float, up_var: float, down_mean: float, down_var: float, window: float
) -> float:
    """Return the same for any two laws and a long window.

    References
    ----------
    Takács, *On certain sojourn time problems in the theory of stochastic processes*, Acta
    Mathematica Hungarica 8, 1957: asymptotically normal, with the variance
    ``(d²·σ_u² + u²·σ_d²)/((u + d)³·t)``.
    """
    total = up_mean + down_mean
    return (down_mean**2 * up_var + up_mean**2 * down_var) / (total**3 * window)


def variance_of_average_constant(fail_rate: float, down: float, window: float) -> float:
    """Return the same for exponential lives and constant repairs, any window, by integration.

    Who is up fails with rate f and is back after d: ``P'(t) = -f·P(t) + f·P(t - d)`` for the chance
    to be up at t if up at 0. The variance is ``2A/t²·∫(t - u)·(P(u) - A)du``.
    """
    steps = 200
    h = down / steps
    n = math.ceil(min(window, 40.0 * (down + 1.0 / fail_rate)) / h)
    p = np.zeros(n + steps + 1)  # p[steps + i] is P(i h); before 0 nothing comes back
    p[steps] = 1.0
    keep = math.exp(-fail_rate * h)
    for i in range(n):
        back = 0.5 * (p[i] + p[i + 1]) if i >= steps else 0.0
        p[steps + i + 1] = keep * p[steps + i] + (1.0 - keep) * back
    a = availability(1.0 / fail_rate, down)
    u = h * np.arange(n + 1)
    weight = np.maximum(window - u, 0.0) * (p[steps:] - a)
    return 2.0 * a / window**2 * float(np.trapezoid(weight, u))


# ---------------------------------------------------------------------------- last in, first out


def lifo_late(rate: float, capacity: float, servers: int, timeout_s: float) -> float:
    """Return the share that waits longer than a time in M/M/c, last in first out.

    Who waits does so for a busy period that starts with one end of service: density
    ``exp(-(λ+C)·x)·I_1(2x·√(λC))/(x·√ρ)`` (Kleinrock I, 1975, eq. 5.149, with all servers as one).
    """
    root = math.sqrt(rate / capacity)
    slow = capacity * (1.0 - root) ** 2  # the exponent that is left once I_1 is scaled

    def density(x: float) -> float:
        return float(ive(1, 2.0 * x * capacity * root)) * math.exp(-slow * x) / (x * root)

    tail, _ = quad(density, timeout_s, timeout_s + 60.0 / slow, limit=200)
    return erlang_c(servers, servers * rate / capacity) * float(tail)


def lifo_buried(rate: float, capacity: float, timeout_s: float) -> float:
    """Return how many per second an overloaded pool serves after a timeout, ``1/(T·ln(λ/C))``.

    A bounded room is full but for a geometric number, so the place j below the top is come to
    ``ν_j ∝ (C/λ)^j`` times per second, and who lies there is late with ``exp(-ν_j·T)``:
    ``Σ ν·exp(-ν·T)`` over a geometric sequence, as an integral.
    """
    return 1.0 / (timeout_s * math.log(rate / capacity)) if rate > capacity else math.inf
