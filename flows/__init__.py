"""Orchestration: the order of steps, what is mapped, what a failure means, what a run reports."""
