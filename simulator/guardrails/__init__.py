"""Guardrails: what stands between a proposed operation and its execution."""
