"""The engine: one loop, one clock. It alone acts; mechanisms decide.

``simulation``  clock, phases, order in one instant, data plane in step
``run``         builds the parts of one run and the trace; :func:`simulate`
``actors``      scripts, people, healing loops, pages
``operations``  from an actor's wish through the control plane to its effect
``effects``     what operations and faults do
``lifecycle``   units that boot, warm up, drain, fail
``demand``      first tries over time
``observer``    impairments, telemetry, alarms, customers' reports
``causes``      the rule by which records get their cause
"""

from simulator.engine.run import RunInterrupted, control_run, simulate
from simulator.engine.simulation import Phase, Simulation

__all__ = ["Phase", "RunInterrupted", "Simulation", "control_run", "simulate"]
