"""The two workloads, and how a program reports a run.

Standard library only: every peer imports it.

W1, *open queue*: Poisson arrivals at 4,000/s, 50 servers, exponential service of 10 ms, one
unbounded FIFO queue, 60 s. Erlang's C formula gives the mean wait.

W2, *retry storm*: a balancer (0.5 ms, no queue), then an application (50 at a time), then a
database (40 at a time), both with exponential service of 10 ms and an unbounded FIFO queue. An
application slot is free while its request is at the database. Poisson first tries at 3,000/s for
60 s. The client waits 1 s per attempt and sends at most three retries, 0.1, 0.2 and 0.4 s after the
timeout, without jitter. An attempt that timed out is not taken out of the queues. From 20 s to 30 s
the application has 20 slots instead of 50; requests that are in service finish. With retries the
system stays down after the repair, without retries it recovers.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class OpenQueue:
    """W1; times in seconds, rates per second."""

    rate: float = 4000.0
    servers: int = 50
    service_s: float = 0.010

    @property
    def mean_wait_s(self) -> float:
        """Exact mean wait in the queue (Erlang C, through the recursion of Erlang B)."""
        load = self.rate * self.service_s
        blocked = 1.0
        for k in range(1, self.servers + 1):
            blocked = load * blocked / (k + load * blocked)
        busy = load / self.servers
        waits = blocked / (1.0 - busy * (1.0 - blocked))
        return waits / (self.servers / self.service_s - self.rate)


@dataclass(frozen=True)
class RetryStorm:
    """W2; times in seconds, rates per second."""

    rate: float = 3000.0
    balancer_s: float = 0.0005
    app_slots: int = 50
    app_s: float = 0.010
    db_slots: int = 40
    db_s: float = 0.010
    timeout_s: float = 1.0
    backoff_s: float = 0.1
    cut_slots: int = 20
    cut_from_s: float = 20.0
    cut_to_s: float = 30.0


W1 = OpenQueue()
W2 = RetryStorm()
HORIZON_S = 60.0


@dataclass(frozen=True)
class Task:
    """What one run is to do."""

    seed: int
    horizon_s: float
    retries: int


def run(once: Callable[[Task], dict[str, object]], argv: Sequence[str] | None = None) -> None:
    """Do the runs the command line asks for; print one JSON line per run.

    ``once`` returns ``first`` (first tries) and the answer, and is timed as a whole: building the
    model counts, starting Python and importing do not.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run")
    parser.add_argument("--repeat", type=int, default=1, help="runs, each with its own seed")
    parser.add_argument("--horizon", type=float, default=HORIZON_S, help="simulated seconds")
    parser.add_argument("--retries", type=int, default=3, help="retries of the client (W2)")
    args = parser.parse_args(argv)
    for k in range(args.repeat):
        task = Task(1000 * args.seed + k, args.horizon, args.retries)
        wall, cpu = time.perf_counter(), time.process_time()
        answer = once(task)
        used = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
        about = {"python": platform.python_version(), "seed": task.seed, "peak_mb": round(peak, 1)}
        print(json.dumps({**answer, **used, **about, "horizon_s": args.horizon}), flush=True)
