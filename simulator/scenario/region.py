"""The declared region: pools, dependencies, services, control planes.

Every model is frozen and closed (unknown keys are errors). A number carries its unit in the file;
here it is a float in SI units. ``basis`` says where numbers come from: a field name (or ``"*"``)
mapped to a source, or to the word ``assumption``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from simulator.policies.adaptive_throttling import AdaptiveThrottling
from simulator.policies.bulkhead import Bulkhead
from simulator.policies.cache import Cache
from simulator.policies.circuit_breaker import CircuitBreaker
from simulator.policies.concurrency_limit import ConcurrencyLimit
from simulator.policies.contention import Contention
from simulator.policies.deadline import Deadline
from simulator.policies.discipline import Discipline
from simulator.policies.fallback import Fallback
from simulator.policies.hedging import Hedging
from simulator.policies.load_shedding import CLASSES, LoadShedding
from simulator.policies.memory_pressure import MemoryPressure
from simulator.policies.rate_limit import RateLimit
from simulator.policies.rejection import Rejection
from simulator.policies.retry import Retry
from simulator.policies.service_time import ServiceTime
from simulator.units import Count, Duration, Fraction, Multiplier, Rate

ID_PATTERN = r"^[a-z0-9][a-z0-9-]*$"

Id = Annotated[str, Field(pattern=ID_PATTERN, max_length=64, examples=["compute-launch"])]
Basis = dict[str, str]


TIMEOUT_S_MIN = 0.001
"""Shortest timeout: the data plane steps at a twentieth of it."""


Clients = Annotated[Count, Field(ge=1, le=10_000)]
Priority = Annotated[int, Field(ge=0, lt=CLASSES)]


def _named(model: type[BaseModel]) -> BeforeValidator:
    """Let a bare name stand for settings of that kind."""

    def named(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        return {"kind": value} if isinstance(value, str) else value

    names = model.model_fields["kind"].annotation
    return BeforeValidator(named, json_schema_input_type=model | names)


class Spec(BaseModel):
    """Base of all declared things: frozen, closed, documented by attribute docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class Pool(Spec):
    """Interchangeable units behind one queue."""

    id: Id
    title: str = ""
    units: Annotated[Count, Field(ge=1)]
    """Units in service at the start, over all zones."""
    zones: dict[Id, Fraction] | None = None
    """Share of the units per zone; absent: equal shares over the region's zones."""
    concurrency: Annotated[Count, Field(ge=1)]
    """Requests that one unit can hold at once (its workers)."""
    service_time: Annotated[Duration, Field(gt=0)]
    """Mean time a worker needs for one request, without the time spent waiting for callees."""
    service_distribution: Annotated[ServiceTime, _named(ServiceTime)] = ServiceTime()
    """Distribution of the service time: a name, or a name with settings."""
    unit_rate: Annotated[Rate, Field(gt=0)] | None = None
    """Requests per second that one unit can process; absent: concurrency / service_time."""
    queue_per_unit: Count | None = None
    """Waiting room per unit in service; absent: unbounded."""
    discipline: Annotated[Discipline, _named(Discipline)] = Discipline()
    """Order in which waiting attempts are served: a name, or a name with settings."""
    late_work: Literal["zombie", "cancel", "deadline_aware"] = "zombie"
    """Attempts whose caller gave up: served all the same, dropped at the timeout, or dropped
    as soon as they can no longer be answered in time."""
    rate_limit: RateLimit | None = None
    concurrency_limit: ConcurrencyLimit | None = None
    load_shedding: LoadShedding | None = None
    rejection: Rejection = Rejection()
    contention: Contention | None = None
    memory_pressure: MemoryPressure | None = None
    fidelity: Literal["flow", "request"] | None = None
    """How this pool's requests are simulated; absent: as the run says (``--fidelity``)."""
    units_min_to_serve: Count = 0
    """Below this number of units in service the pool serves nothing (quorum, minimum set)."""
    boot_time: Duration = "5min"  # type: ignore[assignment]
    """Time from the order to a running unit."""
    warmup: Duration = "0s"  # type: ignore[assignment]
    """Time in which a new unit ramps from ``warm_start`` to its full rate."""
    warm_start: Fraction = 1.0
    """Share of the full rate at the start of the warm-up."""
    serves_control_plane: bool = False
    """True where operators and loops need this pool to act (documentation and guardrails)."""
    basis: Basis = {}
    """Where the numbers come from, by field name; ``"*"`` stands for the rest."""


class Dependency(Spec):
    """Directed edge caller -> callee."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        populate_by_name=True,
    )

    caller: Id = Field(alias="from")
    """Pool that calls."""
    callee: Id = Field(alias="to")
    """Pool that is called."""
    kind: Literal["required", "optional", "asynchronous"] = "required"
    """Required: a failed call fails the request. Optional: a fallback answers instead.
    Asynchronous: nobody waits."""
    calls: Multiplier = 1.0
    """Calls per request of the caller (a mean; may be below one)."""
    timeout: Annotated[Duration, Field(ge=TIMEOUT_S_MIN)]
    """The caller gives up on one attempt after this time."""
    retry: Retry = Retry()
    deadline: Deadline | None = None
    adaptive_throttling: AdaptiveThrottling | None = None
    circuit_breaker: CircuitBreaker | None = None
    bulkhead: Bulkhead | None = None
    hedging: Hedging | None = None
    fallback: Fallback | None = None
    cache: Cache | None = None
    clients: Clients = 1
    """Callers that each keep budgets, windows, breakers and bulkheads of their own."""
    priority: Priority = 0
    """Class of the calls: 0 is the most important."""
    basis: Basis = {}


class Service(Spec):
    """Customer-facing API: where first tries enter the region."""

    id: Id
    title: str = ""
    entry: Id
    """Pool that takes the customers' requests."""
    first_tries: Rate
    """First tries per second at demand factor 1."""
    customers: Fraction
    """Share of the region's customers that use this service."""
    timeout: Annotated[Duration, Field(ge=TIMEOUT_S_MIN)]
    """The customer's client gives up on one attempt after this time."""
    retry: Retry = Retry()
    adaptive_throttling: AdaptiveThrottling | None = None
    circuit_breaker: CircuitBreaker | None = None
    bulkhead: Bulkhead | None = None
    hedging: Hedging | None = None
    clients: Clients = 1
    """Clients that each keep budgets, windows, breakers and bulkheads of their own."""
    priority: Priority = 0
    """Class of the attempts: 0 is the most important."""
    slo: Fraction = 0.99
    """Success share below which the service counts as not well."""
    basis: Basis = {}


class Operation(Spec):
    """Cost of one kind of operation at a control plane."""

    work: Multiplier = 1.0
    """Requests that one operation sends to the serving pool."""
    work_per_unit: Multiplier = 0.0
    """Further requests for each unit that the operation adds, removes or replaces."""
    takes: Duration = "0s"  # type: ignore[assignment]
    """Time the operation needs after its requests were answered, before it takes effect."""


Verb = Literal[
    "describe", "add", "remove", "replace", "restart", "drain", "throttle", "pause", "resume"
]


class ControlPlane(Spec):
    """An API that changes the region; it is served by a pool and starves with it."""

    id: Id
    title: str = ""
    pool: Id
    """Serving pool: operations queue, time out and fail as this pool does."""
    timeout: Annotated[Duration, Field(ge=TIMEOUT_S_MIN)] = "30s"  # type: ignore[assignment]
    """Time after which the caller of an operation gives up."""
    rate_limit: Rate = "10/s"  # type: ignore[assignment]
    """Operations admitted per second (token bucket); above it operations are throttled."""
    burst: Annotated[Count, Field(ge=1)] = 20
    """Size of that token bucket."""
    concurrency: Annotated[Count, Field(ge=1)] = 20
    """Operations in progress at once; further ones queue."""
    boots_at_once: Annotated[Count, Field(ge=1)] = 200
    """Units that may be in provisioning at once, over all pools; further ones wait their turn."""
    operations: dict[Verb, Operation]
    """Verbs that this control plane offers, with their cost."""
    basis: Basis = {}


class Fleet(Spec):
    """Many alike pools made from one template: ``count`` copies named ``<id>-0001`` ..."""

    id: Id
    count: Annotated[Count, Field(ge=1, le=20_000)]
    template: str | None = None
    """Template of the region on which ``pool`` is laid."""
    pool: dict[str, object] = {}
    """Template of the pool, with the fields of a pool but without ``id``."""
    placement: Literal["all_zones", "zones_in_turn"] = "all_zones"
    """Every copy over all zones, or the first copy in the first zone, and so on in turn."""
    calls: tuple[dict[str, object], ...] = ()
    """Dependencies of every copy; ``to`` names a pool, or a fleet (copies are paired in turn)."""
    called_by: tuple[dict[str, object], ...] = ()
    """Dependencies on every copy; ``from`` names a pool or a fleet; ``calls`` is per copy."""


class Region(Spec):
    """The simulated place."""

    schema_version: Literal[1] = Field(alias="schema", default=1)
    id: Id
    title: str = ""
    sources: tuple[Source, ...] = ()
    basis: Basis = {}
    """Basis of every number that says nothing itself."""
    zones: Annotated[tuple[Id, ...], Field(min_length=1, max_length=64)]
    pools: Annotated[tuple[Pool, ...], Field(min_length=1, max_length=20_000)]
    dependencies: tuple[Dependency, ...] = ()
    services: Annotated[tuple[Service, ...], Field(min_length=1)]
    control_planes: tuple[ControlPlane, ...] = ()


class Source(Spec):
    """A reference and what it supports."""

    ref: str
    """URL, DOI or citation."""
    supports: str
    """Which statement or figure of this file rests on it."""
    locator: str = ""
    """Section, table or page."""


Region.model_rebuild()
