"""The suite: workloads, how they are measured, and what is made of it."""
