"""The programs that are compared, and how much of the work each is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

OURS, C = "ours", "c"


@dataclass(frozen=True)
class Program:
    """One program on one workload.

    ``rounds`` limits in how many of the rounds it takes part (slow ones in fewer), ``repeat`` is
    its number of runs in a round (fast ones more), ``horizon_s`` the simulated time of a run.
    ``quick_horizon_s`` is that of the quick comparison, ``check_repeat`` the number of runs without
    retries, which are checked and not timed.
    """

    name: str
    workload: str
    title: str
    script: str
    environment: str
    package: str = ""
    arguments: tuple[str, ...] = ()
    rounds: int = 5
    repeat: int = 1
    horizon_s: float = 60.0
    quick_horizon_s: float = 60.0
    check_repeat: int = 1

    def quick(self) -> Program:
        """Give it as little work as still shows something."""
        return replace(
            self,
            rounds=min(self.rounds, 2),
            repeat=min(self.repeat, 20),
            horizon_s=min(self.horizon_s, self.quick_horizon_s),
        )


PROGRAMS = (
    Program(
        "request", "W1", "**simulator, request fidelity**", "ours_request.py", OURS,
        arguments=("w1",), repeat=20,
    ),
    Program("c", "W1", "C event loop, `cc -O3`", "c_loops.py", C, arguments=("w1",), repeat=40),
    Program("heapq", "W1", "heapq by hand", "w1_heapq.py", OURS),
    Program(
        "simpy-tuned", "W1", "SimPy, callbacks only", "w1_simpy_tuned.py", "simpy", "simpy"
    ),
    Program("simpy", "W1", "SimPy by hand", "w1_simpy.py", "simpy", "simpy"),
    Program("ciw", "W1", "Ciw", "w1_ciw.py", "simpy", "ciw", rounds=3, quick_horizon_s=20.0),
    Program(
        "asyncflow", "W1", "AsyncFlow", "w1_asyncflow.py", "asyncflow", "asyncflow-sim",
        rounds=3, horizon_s=30.0, quick_horizon_s=15.0,
    ),
    Program(
        "happysim", "W1", "happysim", "w1_happysim.py", "happysim", "happysim",
        rounds=3, horizon_s=30.0, quick_horizon_s=15.0,
    ),
    Program(
        "flow", "W2", "**simulator, flow fidelity**", "ours_flow.py", OURS,
        repeat=200,
    ),
    Program(
        "flow-entry", "W2", "simulator, flow fidelity, without the balancer", "ours_flow.py", OURS,
        arguments=("--without-balancer",), repeat=200,
    ),
    Program(
        "request", "W2", "**simulator, request fidelity**", "ours_request.py", OURS,
        arguments=("w2",), repeat=5, check_repeat=10,
    ),
    Program(
        "c", "W2", "C event loop, `cc -O3`", "c_loops.py", C,
        arguments=("w2",), repeat=5, check_repeat=10,
    ),
    Program("heapq", "W2", "heapq by hand", "w2_heapq.py", OURS),
    Program(
        "simpy-tuned", "W2", "SimPy, callbacks only", "w2_simpy_tuned.py", "simpy", "simpy",
        rounds=3,
    ),
    Program(
        "simpy", "W2", "SimPy by hand", "w2_simpy.py", "simpy", "simpy",
        rounds=2, quick_horizon_s=26.0,
    ),
    Program(
        "happysim", "W2", "happysim, own client and server", "w2_happysim.py", "happysim",
        "happysim", rounds=1, quick_horizon_s=26.0,
    ),
)  # fmt: skip

CANNOT = {
    "Ciw": "no client that gives up and comes back while its first attempt stays in the queue",
    "AsyncFlow": "no timeouts or retries of clients",
}
"""Programs that cannot express W2, and what is missing."""
