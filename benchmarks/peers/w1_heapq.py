"""W1 in plain Python by hand: a heap of (time, number, kind), a deque, nothing else."""
# ruff: noqa: S311, TID251 - a peer draws its own random numbers

import random
from collections import deque
from heapq import heappop, heappush

from workloads import W1, Task, run

ARRIVAL, DONE = 0, 1


def once(task: Task) -> dict[str, object]:
    draw, rate, mu = random.Random(task.seed).expovariate, W1.rate, 1.0 / W1.service_s
    servers, end = W1.servers, task.horizon_s
    heap, number = [(draw(rate), 0, ARRIVAL)], 1
    waiting: deque[float] = deque()
    busy, n, wait_s = 0, 0, 0.0
    while heap[0][0] <= end:
        now, _, kind = heappop(heap)
        if kind == ARRIVAL:
            if busy < servers:
                busy += 1
                n += 1
                heappush(heap, (now + draw(mu), number, DONE))
                number += 1
            else:
                waiting.append(now)
            heappush(heap, (now + draw(rate), number, ARRIVAL))
            number += 1
        elif waiting:
            wait_s += now - waiting.popleft()
            n += 1
            heappush(heap, (now + draw(mu), number, DONE))
            number += 1
        else:
            busy -= 1
    return {"first": n, "mean_wait_s": wait_s / n}


if __name__ == "__main__":
    run(once)
