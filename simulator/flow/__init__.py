"""The data plane: requests as flows of cohorts between the decisions of the engine."""
