"""W2 in plain Python by hand: a heap of (time, number, kind, attempt), two deques, nothing else."""
# ruff: noqa: C901, PLR0912, PLR0915 - one event loop
# ruff: noqa: S311, TID251 - a peer draws its own random numbers

import random
from collections import deque
from heapq import heapify, heappop, heappush

from workloads import W2, Task, run

ARRIVE, AT_APP, APP_DONE, DB_DONE, TIMEOUT, RETRY, RESIZE = range(7)


def once(task: Task) -> dict[str, object]:
    draw, rate = random.Random(task.seed).expovariate, W2.rate
    mu_app, mu_db, end, retries = 1.0 / W2.app_s, 1.0 / W2.db_s, task.horizon_s, task.retries
    delay, patience, slots, db_slots = W2.balancer_s, W2.timeout_s, W2.app_slots, W2.db_slots
    app_queue: deque[list] = deque()
    db_queue: deque[list] = deque()
    in_app = in_db = first = attempts = failed = 0
    goodput = [0] * (int(end) + 1)
    heap = [
        (draw(rate), 0, ARRIVE, None),
        (W2.cut_from_s, 1, RESIZE, W2.cut_slots),
        (W2.cut_to_s, 2, RESIZE, W2.app_slots),
    ]
    heapify(heap)
    number = 3
    while heap[0][0] <= end:
        now, _, kind, it = heappop(heap)
        if kind in (ARRIVE, RETRY):
            attempts += 1
            # An attempt: is it settled (answered or timed out), and which try is it?
            attempt = [False, 0 if kind == ARRIVE else it]
            heappush(heap, (now + delay, number, AT_APP, attempt))
            heappush(heap, (now + patience, number + 1, TIMEOUT, attempt))
            number += 2
            if kind == ARRIVE:
                first += 1
                heappush(heap, (now + draw(rate), number, ARRIVE, None))
                number += 1
        elif kind == AT_APP:
            if in_app < slots:
                in_app += 1
                heappush(heap, (now + draw(mu_app), number, APP_DONE, it))
                number += 1
            else:
                app_queue.append(it)
        elif kind == APP_DONE:
            if app_queue and in_app <= slots:
                heappush(heap, (now + draw(mu_app), number, APP_DONE, app_queue.popleft()))
                number += 1
            else:
                in_app -= 1
            if in_db < db_slots:
                in_db += 1
                heappush(heap, (now + draw(mu_db), number, DB_DONE, it))
                number += 1
            else:
                db_queue.append(it)
        elif kind == DB_DONE:
            if db_queue:
                heappush(heap, (now + draw(mu_db), number, DB_DONE, db_queue.popleft()))
                number += 1
            else:
                in_db -= 1
            if not it[0]:
                it[0] = True
                goodput[int(now)] += 1
        elif kind == TIMEOUT:
            if not it[0]:
                it[0] = True
                if it[1] < retries:
                    wait = W2.backoff_s * 2 ** it[1]
                    heappush(heap, (now + wait, number, RETRY, it[1] + 1))
                    number += 1
                else:
                    failed += 1
        else:
            slots = it
            while app_queue and in_app < slots:
                in_app += 1
                heappush(heap, (now + draw(mu_app), number, APP_DONE, app_queue.popleft()))
                number += 1
    return {"first": first, "attempts": attempts, "failed": failed, "goodput": goodput}


if __name__ == "__main__":
    run(once)
