"""Chance: named random streams, and distributions whose moments are known.

Every source of chance has a stream of its own, named by what it is. Its seed depends on the seed of
the run and on that name only, never on the order of creation or on how much other streams drew; a
mechanism that is added and does nothing therefore changes nothing.

A distribution draws by inverse transform from exactly one uniform number, whatever its kind and
parameters. Two arms of an experiment that differ in a parameter so stay aligned draw by draw
(common random numbers).
"""

import hashlib
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.units import Duration, Multiplier

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "Constant",
    "Distribution",
    "Exponential",
    "Lognormal",
    "Streams",
    "Uniform",
    "UniformSource",
    "spawn_key",
]

_STANDARD_NORMAL: Final = NormalDist()
# Half of the smallest positive number that a generator draws: quantiles need 0 < p < 1.
_P_MIN: Final = 2.0**-54


class UniformSource(Protocol):
    """What a distribution draws from; a NumPy generator is one."""

    def random(self) -> float:
        """Draw a number from the half-open interval 0 to 1."""
        ...


def spawn_key(*path: str) -> tuple[int, ...]:
    """Return the eight 32-bit words of the SHA-256 of a stream's name.

    Each part is preceded by its length, so that ``("a", "bc")`` and ``("ab", "c")`` differ.

    Raises
    ------
    ValueError
        If there is no part, or a part is empty.
    """
    if not path or not all(path):
        msg = f"a stream needs a name of non-empty parts, got {path!r}"
        raise ValueError(msg)
    parts = [part.encode() for part in path]
    digest = hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4))


class Streams:
    """The random streams of one run.

    Parameters
    ----------
    seed : int
        Seed of the run, 0 or more.
    """

    def __init__(self, seed: int) -> None:
        if type(seed) is not int or seed < 0:
            msg = f"a seed is a whole number, 0 or more, got {seed!r}"
            raise ValueError(msg)
        self.seed = seed
        self._streams: dict[tuple[str, ...], Generator] = {}

    def stream(self, *path: str) -> "Generator":
        """Return the generator of a name; the same name gives the same object.

        Parameters
        ----------
        *path : str
            What the chance is about, from large to small: ``"fault", "zone-a", "repair"``.
        """
        found = self._streams.get(path)
        if found is None:
            from numpy.random import PCG64DXSM, Generator, SeedSequence

            found = Generator(PCG64DXSM(SeedSequence(self.seed, spawn_key=spawn_key(*path))))
            self._streams[path] = found
        return found

    def names(self) -> tuple[tuple[str, ...], ...]:
        """Return the names asked for so far, sorted."""
        return tuple(sorted(self._streams))


class _Distribution(BaseModel):
    """A distribution of durations."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def sample(self, rng: UniformSource) -> float:
        """Draw one duration (s), from one uniform number."""
        return self._quantile(max(float(rng.random()), _P_MIN))

    def quantile(self, p: float) -> float:
        """Return the duration (s) that a share `p` of draws does not exceed.

        Raises
        ------
        ValueError
            If `p` is not strictly between 0 and 1.
        """
        if not 0 < p < 1:
            msg = f"a quantile needs 0 < p < 1, got {p!r}"
            raise ValueError(msg)
        return self._quantile(p)

    def _quantile(self, p: float) -> float:
        raise NotImplementedError


class Constant(_Distribution):
    """Always the same duration."""

    kind: Literal["constant"] = "constant"
    value: Duration
    """The duration."""

    @property
    def mean(self) -> float:
        """Mean (s)."""
        return self.value

    @property
    def variance(self) -> float:
        """Variance (s²)."""
        return 0.0

    def _quantile(self, p: float) -> float:
        return self.value


class Lognormal(_Distribution):
    """Log-normal: the logarithm of the duration is normal.

    Notes
    -----
    With median *m* and shape σ: quantile m·exp(σ·Φ⁻¹(p)), mean m·exp(σ²/2),
    variance m²·exp(σ²)·(exp(σ²) − 1).
    """

    kind: Literal["lognormal"] = "lognormal"
    median: Duration
    """The duration that half of the draws do not exceed."""
    sigma: Multiplier
    """Standard deviation of the logarithm."""

    @property
    def mean(self) -> float:
        """Mean (s)."""
        return self.median * math.exp(self.sigma**2 / 2)

    @property
    def variance(self) -> float:
        """Variance (s²)."""
        return self.median**2 * math.exp(self.sigma**2) * math.expm1(self.sigma**2)

    def _quantile(self, p: float) -> float:
        return self.median * math.exp(self.sigma * _STANDARD_NORMAL.inv_cdf(p))


class Exponential(_Distribution):
    """Exponential: without memory.

    Notes
    -----
    Quantile −mean·ln(1 − p), variance mean².
    """

    kind: Literal["exponential"] = "exponential"
    mean: Duration
    """The mean."""

    @property
    def variance(self) -> float:
        """Variance (s²)."""
        return self.mean**2

    def _quantile(self, p: float) -> float:
        return -self.mean * math.log1p(-p)


class Uniform(_Distribution):
    """Uniform between two durations.

    Notes
    -----
    Quantile low + p·(high − low), variance (high − low)²/12.
    """

    kind: Literal["uniform"] = "uniform"
    low: Duration
    """The shortest duration."""
    high: Duration
    """The longest duration."""

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if self.low > self.high:
            msg = "low is greater than high"
            raise ValueError(msg)
        return self

    @property
    def mean(self) -> float:
        """Mean (s)."""
        return (self.low + self.high) / 2

    @property
    def variance(self) -> float:
        """Variance (s²)."""
        return (self.high - self.low) ** 2 / 12

    def _quantile(self, p: float) -> float:
        return self.low + p * (self.high - self.low)


Distribution = Annotated[
    Constant | Lognormal | Exponential | Uniform,
    Field(discriminator="kind"),
]
"""Any of the distributions of durations, told apart by ``kind``."""
