"""How the region is seen: samples that are delayed and sometimes lost, views of them, alarms.

Everything here is a pure function of samples. The data plane takes one sample of every pool and
service per period; it becomes visible ``delay`` later. A sample is lost for good when the pool
that carries telemetry had a success share below ``lost_below`` at that time. People, loops and
alarms see the newest visible sample and nothing else.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from simulator.policies.service_time import ends_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np

    from simulator.model import Topology
    from simulator.scenario.schema import Alarm, Telemetry

VISIBLE_PERIODS: Final = 5.0
"""A view is called visible while its newest sample is younger than this many periods plus the
usual delay (assumption: the default "no data" window of common alarm systems is of that order)."""
FULL_FRAC: Final = 0.99
"""A queue filled to this part of its bound rejects what its pool cannot serve."""
_TOLERANCE_S: Final = 1e-6

OFFERED, _SERVED, SUCCESS, QUEUE, _DEAD, CAPACITY, _BLOCKED = range(7)
_FIRST, OK, FAILED = range(3)


class UnitFacts(Protocol):
    """Units of one pool at the time of a sample."""

    @property
    def serving(self) -> int:
        """Units in service or warming."""

    @property
    def failed(self) -> int:
        """Units that fail every check."""

    @property
    def service_s(self) -> float:
        """Mean service time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of the whole region."""

    t_s: float
    pools: np.ndarray
    """(P, 7) float64, columns of the data plane's contract."""
    services: np.ndarray
    """(E, 5) float64, columns of the data plane's contract, one row per edge."""
    facts: dict[int, UnitFacts] = field(default_factory=dict)
    """Units per pool at that time, looked up when somebody asks; the past does not change."""
    _rows: list[list[float]] = field(default_factory=list)

    @property
    def rows(self) -> list[list[float]]:
        """``pools`` in plain floats: loops ask often, and NumPy's scalars are slow."""
        if not self._rows:
            self._rows.extend(self.pools.tolist())
        return self._rows


class SampleBook:
    """Samples that can ever be seen, in order of time.

    Parameters
    ----------
    topology : Topology
        Names and queue bounds.
    spec : Telemetry
        Period, delay and carrier.
    units_at : callable
        ``units_at(pool, t_s)`` returns the :class:`UnitFacts` just before ``t_s``.
    """

    def __init__(
        self, topology: Topology, spec: Telemetry, units_at: Callable[[int, float], UnitFacts]
    ) -> None:
        self.period_s = spec.sample_period
        self.delay_s = spec.delay
        self.units_at = units_at
        self.pool_index = {name: i for i, name in enumerate(topology.pool_ids)}
        self.edge_index = {name: topology.service_edge(name) for name in topology.service_ids}
        # Plain numbers: looked at for every pool in every round of every loop.
        self.service_law: list[tuple[int, float, float]] = [
            (int(row["service_kind"]), float(row["service_a"]), float(row["service_b"]))
            for row in topology.pool_policy
        ]
        self.queue_per_unit: list[float] = topology.queue_per_unit.tolist()
        self.declared: list[int] = topology.units.sum(axis=1).tolist()
        self.n_taken = 0
        """Samples taken, the lost ones included."""
        self.n_lost = 0
        self._carrier = None if spec.carried_by is None else self.pool_index[spec.carried_by]
        self._lost_below = spec.lost_below
        self._seen: list[Sample] = []
        self._times_s: list[float] = []

    def extend(self, t_s: np.ndarray, pools: np.ndarray, services: np.ndarray) -> None:
        """Add new samples: ``t_s (n,)``, ``pools (n, P, 7)``, ``services (n, E, 5)``."""
        for i in range(len(t_s)):
            self.n_taken += 1
            if self._lost(pools[i]):
                self.n_lost += 1
                continue
            time_s = float(t_s[i])
            self._seen.append(Sample(time_s, pools[i], services[i]))
            self._times_s.append(time_s)

    def _lost(self, pools: np.ndarray) -> bool:
        if self._carrier is None:
            return False
        row = pools[self._carrier]
        return bool(row[CAPACITY] <= 0.0 or row[SUCCESS] < self._lost_below)

    def view(self, now_s: float) -> SampledView:
        """Return what can be seen at ``now_s``."""
        n = bisect_right(self._times_s, now_s - self.delay_s + _TOLERANCE_S)
        return SampledView(self, now_s, self._seen[n - 1] if n else None)


class SampledView:
    """The region as its newest visible sample shows it (a :class:`simulator.mechanism.View`)."""

    __slots__ = ("_book", "_now_s", "sample")

    def __init__(self, book: SampleBook, now_s: float, sample: Sample | None) -> None:
        self._book = book
        self._now_s = now_s
        self.sample = sample

    @property
    def now_s(self) -> float:
        """Time of the look, not of the sample."""
        return self._now_s

    @property
    def age_s(self) -> float:
        """Age of the newest visible sample (inf if there is none)."""
        return math.inf if self.sample is None else self._now_s - self.sample.t_s

    @property
    def visible(self) -> bool:
        """False while no sample younger than five periods (and the delay) can be seen."""
        return self.age_s <= VISIBLE_PERIODS * self._book.period_s + self._book.delay_s

    def success_frac(self, name: str) -> float | None:
        """Success share of a service (customers) or a pool (all callers); services first."""
        if self.sample is None:
            return None
        edge = self._book.edge_index.get(name)
        if edge is not None:
            row = self.sample.services[edge].tolist()
            answered_rps = row[OK] + row[FAILED]
            return row[OK] / answered_rps if answered_rps > 0.0 else None
        share = self.sample.rows[self._pool(name)][SUCCESS]
        return None if math.isnan(share) else share

    def utilisation_frac(self, pool: str) -> float | None:
        """Attempt rate over full capacity; inf where attempts find no capacity at all."""
        if self.sample is None:
            return None
        row = self.sample.rows[self._pool(pool)]
        return _load(row[OFFERED], row[CAPACITY])

    def queue_wait_s(self, pool: str) -> float | None:
        """Queue over capacity: what a new attempt would wait (inf where nothing serves)."""
        if self.sample is None:
            return None
        row = self.sample.rows[self._pool(pool)]
        return _load(row[QUEUE], row[CAPACITY])

    def units(self, pool: str) -> int | None:
        """Units in service or warming."""
        return None if self.sample is None else self._facts(self._book.pool_index[pool]).serving

    def units_frac(self, pool: str) -> float | None:
        """Units in service or warming over declared units."""
        if self.sample is None:
            return None
        p = self._pool(pool)
        return self._facts(p).serving / self._book.declared[p]

    def health_fail_frac(self, pool: str, timeout_s: float) -> float | None:
        """Share of health checks that fail: broken units, and good ones that answer too late.

        Notes
        -----
        A check of a good unit queues like every request. With wait *w* = queue / capacity and
        mean service time *s* it fails with the chance that it is rejected at a full queue
        (1 - served/offered), or else exp(-(timeout - w)/s), 1 where w > timeout. A deterministic
        service time has a step in place of the tail.
        """
        if self.sample is None:
            return None
        p = self._book.pool_index[pool]
        facts = self._facts(p)
        serving, failed = facts.serving, facts.failed
        units = serving + failed
        if units == 0:
            return None
        good_fail_frac = self._check_fail_frac(p, facts, timeout_s)
        return (failed + serving * good_fail_frac) / units

    def _check_fail_frac(self, p: int, facts: UnitFacts, timeout_s: float) -> float:
        """Chance that a check of a good unit fails."""
        assert self.sample is not None
        offered, served, _, queue, _, capacity, _ = self.sample.rows[p]
        if capacity <= 0.0:
            return 1.0
        rejected = 0.0
        bound = self._book.queue_per_unit[p] * facts.serving
        if queue >= FULL_FRAC * bound and offered > served:
            rejected = 1.0 - served / offered
        left_s = timeout_s - queue / capacity
        if left_s <= 0.0:
            return 1.0
        kind, a, b = self._book.service_law[p]
        late = 1.0 - ends_within(kind, facts.service_s, a, b, left_s)
        return rejected + (1.0 - rejected) * late

    def _pool(self, name: str) -> int:
        return self._book.pool_index[name]

    def _facts(self, pool: int) -> UnitFacts:
        assert self.sample is not None
        facts = self.sample.facts.get(pool)
        if facts is None:
            facts = self.sample.facts[pool] = self._book.units_at(pool, self.sample.t_s)
        return facts


def _load(amount: float, capacity: float) -> float | None:
    """Return amount / capacity: inf without capacity, None where there is neither."""
    if capacity > 0.0:
        return amount / capacity
    return math.inf if amount > 0.0 else None


class AlarmBook:
    """State of every alarm, evaluated once per visible sample.

    Parameters
    ----------
    alarms : Iterable[Alarm]
        Declared alarms; evaluated in sorted order of their ids.
    """

    def __init__(self, alarms: Iterable[Alarm]) -> None:
        self.alarms = tuple(sorted(alarms, key=lambda a: a.id))
        self.active: set[str] = set()
        """Ids of alarms that fired and whose condition has not ended."""
        self._since_s: dict[str, float] = {}
        self._last_s = -math.inf

    def evaluate(self, view: SampledView) -> list[Alarm]:
        """Look at a sample that is new; return the alarms that fire now.

        A condition holds from the first sample that shows it; samples that were lost say nothing,
        and a value that is missing neither starts nor ends a condition.
        """
        if view.sample is None or view.sample.t_s <= self._last_s:
            return []
        self._last_s = view.sample.t_s
        return [alarm for alarm in self.alarms if self._fires(alarm, view)]

    def _fires(self, alarm: Alarm, view: SampledView) -> bool:
        value = alarm_value(alarm, view)
        if value is None:
            return False
        if not is_bad(alarm, value):
            self._since_s.pop(alarm.id, None)
            self.active.discard(alarm.id)
            return False
        since_s = self._since_s.setdefault(alarm.id, self._last_s)
        if alarm.id in self.active or self._last_s - since_s < alarm.hold - _TOLERANCE_S:
            return False
        self.active.add(alarm.id)
        return True


def alarm_value(alarm: Alarm, view: SampledView) -> float | None:
    """Return the value that an alarm watches."""
    name = alarm.service or alarm.pool or ""
    if alarm.metric == "utilisation_frac":
        return view.utilisation_frac(name)
    if alarm.metric == "units_frac":
        return view.units_frac(name)
    return view.success_frac(name)


def is_bad(alarm: Alarm, value: float) -> bool:
    """Say whether a value meets an alarm's condition."""
    if alarm.below is not None and value < alarm.below:
        return True
    return alarm.above is not None and value > alarm.above
