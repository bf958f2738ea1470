"""Whole programs and servers: what the workloads of suite/programs.py and suite/startup.py are made of."""
