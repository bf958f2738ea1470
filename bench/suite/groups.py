"""Finds the groups of workloads. A group that cannot be imported is told of, and the others go on."""

import importlib
import inspect

# In this order they are measured and reported: the short ones first, lest a budget ends before them.
KNOWN = ("limits", "micro", "startup", "threads", "memory", "traces", "programs")


def load(names, build, tell, package=__package__):
    """The workloads of the groups named, in that order, and the names of the groups left out."""
    found, left_out = [], []
    for name in names:
        try:
            found += workloads_of(importlib.import_module(f"{package}.{name}" if package else name), build)
        except Exception as error:  # whatever is wrong in a group, it is that group's alone
            tell(f"group {name} left out: {explain(error, name)}")
            left_out.append(name)
    return unique(found, tell), left_out


def workloads_of(module, build):
    """A group that must look at the build to know its rows takes it as an argument."""
    make = module.workloads
    return list(make(build) if inspect.signature(make).parameters else make())


def explain(error, name):
    if isinstance(error, ModuleNotFoundError) and (error.name or "").endswith(name):
        return "no such group"
    return f"{type(error).__name__}: {error}"


def unique(workloads, tell):
    """Results are kept by name, so two rows cannot share one."""
    by_name = {}
    for workload in workloads:
        if workload.name in by_name:
            tell(f"two workloads are named {workload.name}: the second is left out")
        by_name.setdefault(workload.name, workload)
    return list(by_name.values())
