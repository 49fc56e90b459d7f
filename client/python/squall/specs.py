"""Specs of functions and DAGs as the cluster takes them; what the decorator and `Dag` make."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from squall.datatypes import DataType, Port
from squall.errors import invalid
from squall.protocol import Writer

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


def check_name(what: str, name: str, *, stage: bool = False) -> str:
    if not isinstance(name, str) or not _NAME.match(name) or (stage and "." in name):
        signs = "letters, digits, '_', '-'" + ("" if stage else " and '.'")
        raise invalid(
            f"{name!r} cannot name {what}: a name has 1 to 128 {signs}, and begins with a letter, a digit or '_'"
        )
    return name


def _ns(seconds: float) -> int:
    return min(round(seconds * 1e9), 2**63 - 1)


class VariantKind(enum.IntEnum):
    BUILTIN = 1
    NATIVE = 2
    PYTHON = 3
    ONNX = 4
    KERNELS = 5


class Resource(enum.IntEnum):
    CPU = 1
    GPU = 2


@dataclass(frozen=True)
class Workers:
    """In how many processes the code of a native or Python variant runs on a node, and within which bounds; zeros are
    the node's defaults."""

    min_instances: int = 0
    max_instances: int = 0
    keep_alive: float = 0.0
    memory_limit_bytes: int = 0
    scratch_bytes: int = 0
    cpu_time: float = 0.0
    processes: int = 0
    open_files: int = 0
    network: bool = False

    def to_wire(self) -> list[Any]:
        return [
            self.min_instances,
            self.max_instances,
            _ns(self.keep_alive),
            self.memory_limit_bytes,
            self.scratch_bytes,
            _ns(self.cpu_time),
            self.processes,
            self.open_files,
            self.network,
        ]


@dataclass
class Variant:
    """One way to run a function."""

    kind: VariantKind
    target: str
    name: str = "default"
    resource: Resource = Resource.CPU
    parameters: dict[str, str] = field(default_factory=dict)
    max_batch: int = 1
    max_delay: float = 0.0
    threads: int = 1
    memory_bytes: int = 0
    workers: Workers = Workers()

    def to_wire(self) -> list[Any]:
        return [
            self.name,
            int(self.kind),
            int(self.resource),
            self.target,
            {key: self.parameters[key] for key in sorted(self.parameters)},
            self.max_batch,
            _ns(self.max_delay),
            self.threads,
            self.memory_bytes,
            self.workers.to_wire(),
        ]


def port_to_wire(port: Port) -> list[Any]:
    return [port.name, int(port.datatype), list(port.shape), port.list, port.optional]


def port_from_wire(fields: Sequence[Any]) -> Port:
    return Port(fields[0], DataType(fields[1]), tuple(fields[2]), bool(fields[3]), bool(fields[4]))


@dataclass
class FunctionSpec:
    name: str
    inputs: list[Port]
    outputs: list[Port]
    variants: list[Variant]
    version: int = 1
    state: list[tuple[str, str]] = field(default_factory=list)
    repeatable: bool = False

    def to_wire(self) -> list[Any]:
        return [
            self.name,
            self.version,
            [port_to_wire(p) for p in self.inputs],
            [port_to_wire(p) for p in self.outputs],
            [v.to_wire() for v in self.variants],
            [list(pair) for pair in self.state],
            self.repeatable,
        ]


class Source(enum.IntEnum):
    DAG_INPUT = 1
    STAGE_OUTPUT = 2
    CONSTANT = 3


@dataclass
class Binding:
    """Where the value of a stage's input comes from."""

    source: Source
    stage: str = ""
    port: str = ""
    constant: Any = None  # an encoded value

    def to_wire(self, writer: Writer) -> list[Any]:
        return [int(self.source), self.stage, self.port, writer.value(self.constant)]

    def __str__(self) -> str:
        if self.source is Source.DAG_INPUT:
            return f"${self.port}"
        return f"{self.stage}.{self.port}" if self.source is Source.STAGE_OUTPUT else "a constant"


class Op(enum.IntEnum):
    BELOW = 1
    ABOVE = 2
    AT_MOST = 3
    AT_LEAST = 4
    EQUAL = 5
    NOT_EQUAL = 6
    PRESENT = 7
    ALL = 8
    ANY = 9
    NOT = 10


_NOTHING = Binding(Source.DAG_INPUT)


@dataclass
class PredicateSpec:
    op: Op
    subject: Binding = field(default_factory=lambda: _NOTHING)
    operand: float | str = 0.0
    children: list[PredicateSpec] = field(default_factory=list)

    def to_wire(self, writer: Writer) -> list[Any]:
        operand = [1, self.operand] if isinstance(self.operand, str) else [0, float(self.operand)]
        return [int(self.op), self.subject.to_wire(writer), operand, [c.to_wire(writer) for c in self.children]]


@dataclass(frozen=True)
class Join:
    """When a stage with several producers runs."""

    rule: int = 1
    count: int = 0
    wait: float = 0.0
    must: bool = False

    def to_wire(self) -> list[Any]:
        return [self.rule, self.count, _ns(self.wait), self.must]


ALL_PRESENT = Join(1)
ANY_PRESENT = Join(2)


def at_least(count: int, wait: float = 0.0, *, must: bool = False) -> Join:
    """Runs as soon as all producers have settled, or, once `count` are present, when `wait` seconds have passed since
    the call came. With `must`, the call fails when too few are present because producers failed; else the stage is
    skipped."""
    if not isinstance(count, int) or count < 1:
        raise invalid(f"at_least({count!r}): the count is a whole number from 1 on")
    if wait < 0:
        raise invalid(f"at_least({count}, wait={wait}): the wait is in seconds and not negative")
    return Join(3, count, wait, must)


@dataclass
class StageSpec:
    name: str
    function: str
    inputs: dict[str, Binding]
    version: int = 0
    map: list[str] = field(default_factory=list)
    width_max: int = 0
    when: PredicateSpec | None = None
    join: Join = ALL_PRESENT
    may_fail: bool = False
    variant: str = ""
    compete: int = 0

    def to_wire(self, writer: Writer) -> list[Any]:
        return [
            self.name,
            self.function,
            self.version,
            [[port, binding.to_wire(writer)] for port, binding in self.inputs.items()],
            self.map,
            self.width_max,
            None if self.when is None else self.when.to_wire(writer),
            self.join.to_wire(),
            self.may_fail,
            self.variant,
            self.compete,
        ]


@dataclass
class DagSpec:
    name: str
    inputs: list[Port]
    stages: list[StageSpec]
    outputs: dict[str, Binding]
    version: int = 1
    optimize: list[str] = field(default_factory=list)

    def to_wire(self, writer: Writer) -> list[Any]:
        return [
            self.name,
            self.version,
            [port_to_wire(p) for p in self.inputs],
            [s.to_wire(writer) for s in self.stages],
            [[name, binding.to_wire(writer)] for name, binding in self.outputs.items()],
            self.optimize,
        ]


def ports_from_json(ports: Sequence[Mapping[str, Any]]) -> list[Port]:
    """As a query of the cluster lists them."""
    return [
        Port(p["name"], DataType[p["datatype"]], tuple(p["shape"]), bool(p["list"]), bool(p["optional"])) for p in ports
    ]
