"""``compute_metrics``: from a trace, and the control run's, to :class:`Metrics`."""

from __future__ import annotations

from collections import Counter

import numpy as np

from simulator.errors import UsageError
from simulator.metrics import blast, recovery
from simulator.metrics.facts import (
    Interval,
    Subject,
    attributable,
    before_trigger,
    data_of,
    impairments,
    merged,
    throttles,
    trigger_record,
)
from simulator.metrics.result import Metrics, ServiceMetrics
from simulator.metrics.series import Series, failure_frac, make_series
from simulator.trace import Trace

__all__ = ["compute_metrics"]

_Ill = dict[Subject, tuple[Interval, ...]]


def compute_metrics(trace: Trace, control: Trace | None = None) -> Metrics:
    """Measure a run.

    Parameters
    ----------
    trace : Trace
        The run.
    control : Trace, optional
        The control run: ``control_run(scenario, seed)`` with the scenario and seed of the run.
        Without it the run is compared with its own last sample before the trigger. That is wrong
        where demand changes during the run (a daily cycle, a surge): what the change of demand
        does is then counted as an effect of the trigger, and what fails without the trigger too
        is not taken off. ``Metrics.baseline`` says which it was.

    Returns
    -------
    Metrics
        See there for the meaning of each number.

    Raises
    ------
    UsageError
        If one of the two is no trace, or they are not of the same region.

    Examples
    --------
    >>> from simulator import compute_metrics, control_run, simulate  # doctest: +SKIP
    >>> trace = simulate(scenario, seed=7)  # doctest: +SKIP
    >>> compute_metrics(trace, control_run(scenario, seed=7)).ttr_s  # doctest: +SKIP
    """
    _refuse_misuse(trace, control)
    first = trigger_record(trace)
    trigger_s = None if first is None else first.t_s
    series = make_series(trace, control, trigger_s)
    ill = _attributable_ill(trace, control, trigger_s)
    ill_services = merged(i for s in trace.service_ids for i in ill.get(("service", s), ()))
    impact_s = ill_services[0].start_s if ill_services else None
    bad = merged((*ill_services, *_unless_in(throttles(trace), control)))
    # Without a trigger the clock starts with the impact.
    zero_s = trigger_s if trigger_s is not None else impact_s or 0.0
    found = (
        recovery.Recovery(None, None)
        if impact_s is None
        else recovery.find_recovery(series, bad, impact_s, trace.end_s)
    )
    marks = recovery.milestones(trace, control, trigger_s, impact_s, found)
    from_trigger = _since(marks, zero_s)
    affected = blast.affected_services(trace, series, trigger_s)
    services = _services(trace, series, ill, affected, zero_s)
    recovered = impact_s is None or found.recovered_s is not None
    refused = Counter(
        str(data_of(r).get("guardrail", "") or r.actor or r.subject)
        for r in trace.records
        if r.kind == "refusal"
    )
    amplification, per_try = blast.peaks(series, trigger_s)
    return Metrics(
        scenario=trace.scenario.id,
        seed=trace.seed,
        baseline="state before the trigger" if control is None else "control run",
        end_s=float(trace.end_s),
        trigger_s=trigger_s,
        impacted=impact_s is not None,
        recovered=recovered,
        ttr_s=0.0 if impact_s is None else from_trigger["recovered"],
        ttr_from_impact_s=0.0 if impact_s is None else _since(marks, impact_s)["recovered"],
        censored_at_s=None if recovered else float(trace.end_s) - zero_s,
        relapses=recovery.relapses(bad),
        milestones_s=from_trigger,
        milestones_from_impact_s=_since(marks, impact_s),
        phases_s=recovery.phases(from_trigger if impact_s is not None else _since(marks, None)),
        blast_radius=blast.blast_radius(trace, control, series, ill, affected),
        services=services,
        lost_first_tries=float(sum(s.lost_first_tries for s in services)),
        error_budget_min=max(
            (s.error_budget_min for s in services if s.error_budget_min is not None), default=None
        ),
        cascade_order=blast.cascade_order(ill),
        cascade_depth=blast.cascade_depth(trace, trigger_s),
        peak_amplification=amplification,
        peak_attempts_per_first_try=per_try,
        actions_refused=sum(refused.values()),
        refused_by=dict(sorted(refused.items())),
        alarms=sum(
            r.kind == "alarm" and not before_trigger(r.t_s, trigger_s) for r in trace.records
        ),
        min_units_frac=_min_units(trace, series),
        min_success_frac={s.id: s.min_success_frac for s in services},
    )


def _refuse_misuse(trace: object, control: object) -> None:
    """Tell what was passed instead of traces, or a control run of another region."""
    for name, value in (("trace", trace), ("control", control)):
        if not isinstance(value, Trace) and not (name == "control" and value is None):
            msg = f"{name} must be a Trace, as simulate returns it, not {type(value).__name__}"
            raise UsageError(msg)
    if isinstance(trace, Trace) and isinstance(control, Trace):
        same = trace.pool_ids == control.pool_ids and trace.service_ids == control.service_ids
        if not same:
            msg = "the control run has other pools or services than the run"
            raise UsageError(msg)


def _attributable_ill(trace: Trace, control: Trace | None, trigger_s: float | None) -> _Ill:
    own = impairments(trace)
    other = impairments(control) if control is not None else {}
    return {k: attributable(v, other.get(k, ()), trigger_s) for k, v in own.items()}


def _unless_in(own: tuple[Interval, ...], control: Trace | None) -> tuple[Interval, ...]:
    return attributable(own, throttles(control) if control is not None else (), None)


def _since(marks: dict[str, float | None], zero_s: float | None) -> dict[str, float | None]:
    """Return milestones counted from `zero_s` (all None when there is no zero)."""
    return {
        name: None if t_s is None or zero_s is None else t_s - zero_s for name, t_s in marks.items()
    }


def _services(
    trace: Trace, series: Series, ill: _Ill, affected: tuple[str, ...], zero_s: float
) -> tuple[ServiceMetrics, ...]:
    slo = {s.id: s.slo for s in trace.scenario.region.services}
    failed, ok = series.service("failed_rps"), series.service("ok_rps")
    base_failed, base_ok = series.base_service("failed_rps"), series.base_service("ok_rps")
    dt_s = series.dt_s[:, None]
    lost = ((failed - base_failed) * dt_s).sum(axis=0)
    error = failure_frac(failed, ok)
    burnt_s = ((error - failure_frac(base_failed, base_ok)) * dt_s).sum(axis=0)
    worst = error.max(axis=0, initial=0.0)
    rows = []
    for k, name in enumerate(trace.service_ids):
        mine = ill.get(("service", name), ())
        budget = 1.0 - slo[name]
        rows.append(
            ServiceMetrics(
                id=name,
                affected=name in affected,
                impact_s=mine[0].start_s - zero_s if mine else None,
                ttr_s=_service_ttr(mine, zero_s, trace.end_s),
                impaired_s=float(sum(i.length_s for i in mine)),
                lost_first_tries=float(lost[k]),
                min_success_frac=float(1.0 - worst[k]),
                error_budget_min=float(burnt_s[k] / budget / 60.0) if budget > 0.0 else None,
            )
        )
    return tuple(rows)


def _service_ttr(mine: tuple[Interval, ...], zero_s: float, end_s: float) -> float | None:
    """Return the time to the end of the last impairment, if the hold window fits behind it."""
    if not mine:
        return 0.0
    last = mine[-1]
    well = not last.open and last.end_s + recovery.HOLD_S <= end_s
    return last.end_s - zero_s if well else None


def _min_units(trace: Trace, series: Series) -> dict[str, float]:
    declared = {p.id: p.units for p in trace.scenario.region.pools}
    units = series.pool("units")
    if len(units) == 0:
        return {}
    lowest = np.min(units, axis=0)
    return {p: float(lowest[k]) / declared[p] for k, p in enumerate(trace.pool_ids)}
