"""W1 in Ciw: its network of nodes; it keeps a record of every customer."""

import ciw
from workloads import W1, Task, run


def once(task: Task) -> dict[str, object]:
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(W1.rate)],
        service_distributions=[ciw.dists.Exponential(1.0 / W1.service_s)],
        number_of_servers=[W1.servers],
    )
    ciw.seed(task.seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(task.horizon_s)
    waits = [record.waiting_time for record in simulation.get_all_records()]
    return {"first": len(waits), "mean_wait_s": sum(waits) / len(waits)}


if __name__ == "__main__":
    run(once)
