"""Small pools as Markov chains over (queue, orbit): what can be solved instead of simulated."""
