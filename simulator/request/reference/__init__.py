"""Readable twin of the request fidelity: a SimPy program, with the numbers of MODEL.md (R1 … R13).

A first try makes its attempts one after the other; a request that is served is a process that
sleeps through its service, makes its calls and answers. Slow on purpose. The parity tests hold
:class:`simulator.request.plane.RequestPlane` to it, event by event, with the same random numbers.
"""

from simulator.request.reference.plane import RequestReference

__all__ = ["RequestReference"]
