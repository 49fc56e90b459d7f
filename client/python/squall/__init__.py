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
    from squall.calls import Call as Call
    from squall.calls import Result as Result
    from squall.cluster import Cluster as Cluster
    from squall.cluster import ClusterInfo as ClusterInfo
    from squall.cluster import connect as connect
    from squall.context import (
        call as call,
    )
    from squall.context import (
        cancelled as cancelled,
    )
    from squall.context import (
        delete as delete,
    )
    from squall.context import (
        empty as empty,
    )
    from squall.context import (
        get as get,
    )
    from squall.context import (
        keys as keys,
    )
    from squall.context import (
        put as put,
    )
    from squall.context import (
        remaining as remaining,
    )
    from squall.context import (
        submit as submit,
    )
    from squall.dags import (
        Condition as Condition,
    )
    from squall.dags import (
        Dag as Dag,
    )
    from squall.dags import (
        Value as Value,
    )
    from squall.dags import (
        all_of as all_of,
    )
    from squall.dags import (
        any_of as any_of,
    )
    from squall.dags import (
        each as each,
    )
    from squall.dags import (
        present as present,
    )
    from squall.dags import (
        when as when,
    )
    from squall.datatypes import BF16 as BF16
    from squall.datatypes import BYTES as BYTES
    from squall.datatypes import DataType as DataType
    from squall.datatypes import Port as Port
    from squall.embedded import local as local
    from squall.errors import Code as Code
    from squall.errors import SquallError as SquallError
    from squall.functions import (
        Function as Function,
    )
    from squall.functions import (
        builtin as builtin,
    )
    from squall.functions import (
        function as function,
    )
    from squall.functions import (
        model as model,
    )
    from squall.functions import (
        named as named,
    )
    from squall.functions import (
        native as native,
    )
    from squall.kv import Entry as Entry
    from squall.link import Keys as Keys
    from squall.outcomes import (
        Offer as Offer,
    )
    from squall.outcomes import (
        Outcome as Outcome,
    )
    from squall.outcomes import (
        Promise as Promise,
    )
    from squall.outcomes import (
        Receipt as Receipt,
    )
    from squall.outcomes import (
        StageTrace as StageTrace,
    )
    from squall.specs import (
        ALL_PRESENT as ALL_PRESENT,
    )
    from squall.specs import (
        ANY_PRESENT as ANY_PRESENT,
    )
    from squall.specs import (
        DagSpec as DagSpec,
    )
    from squall.specs import (
        FunctionSpec as FunctionSpec,
    )
    from squall.specs import (
        Join as Join,
    )
    from squall.specs import (
        Workers as Workers,
    )
    from squall.specs import (
        at_least as at_least,
    )

_HOMES = {
    "calls": "Call Result",
    "cluster": "Cluster ClusterInfo connect",
    "context": "call cancelled delete empty get keys put remaining submit",
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

__all__ = sorted([*_HOME_OF, *_MODULES])


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
