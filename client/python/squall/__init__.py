"""Squall from Python: call, register and compose functions, models and DAGs that a cluster serves.

    import numpy as np, squall

    @squall.function(inputs={"x": np.float32}, outputs={"y": np.float32})
    def double(x):
        return x * 2

    with squall.local() as cluster:
        print(cluster.run(double, {"x": [1, 2, 3]})["y"])

docs/python.md is the tutorial. Names are loaded when they are first used, so that a worker that runs a function imports
only what the function needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from squall.calls import Call, Result
    from squall.cluster import Cluster, ClusterInfo, connect
    from squall.context import call, cancelled, delete, get, put, remaining, submit
    from squall.dags import Condition, Dag, Value, all_of, any_of, each, present, when
    from squall.datatypes import BF16, BYTES, DataType, Port
    from squall.errors import Code, SquallError
    from squall.functions import Function, builtin, function, model, named, native
    from squall.kv import Entry
    from squall.link import Keys
    from squall.embedded import local
    from squall.outcomes import Offer, Outcome, Promise, Receipt, StageTrace
    from squall.specs import ALL_PRESENT, ANY_PRESENT, DagSpec, FunctionSpec, Join, Workers, at_least

_HOMES = {
    "calls": "Call Result",
    "cluster": "Cluster ClusterInfo connect",
    "context": "call cancelled delete get put remaining submit",
    "dags": "Condition Dag Value all_of any_of each present when",
    "datatypes": "BF16 BYTES DataType Port",
    "errors": "Code SquallError",
    "functions": "Function builtin function model named native",
    "kv": "Entry",
    "link": "Keys",
    "embedded": "local",
    "outcomes": "Offer Outcome Promise Receipt StageTrace",
    "specs": "ALL_PRESENT ANY_PRESENT DagSpec FunctionSpec Join Workers at_least",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_MODULES = ("aio", "cloudburst")

__all__ = sorted([*_HOME_OF, *_MODULES])  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"squall.{_HOME_OF[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"squall.{name}")
    else:
        raise AttributeError(f"module 'squall' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
