"""DAGs by calling functions on symbolic values."""

from __future__ import annotations

import contextvars
import difflib
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from squall.datatypes import Port, encode_for, encode_plain, port
from squall.errors import SquallError, invalid
from squall.specs import Binding, DagSpec, Op, PredicateSpec, Source, StageSpec, check_name

if TYPE_CHECKING:
    from squall.functions import Function, StageOptions

_current: contextvars.ContextVar[Dag | None] = contextvars.ContextVar("squall_dag", default=None)
_FOLDER = str(pathlib.Path(__file__).parent)


def current() -> Dag | None:
    """The DAG whose `with` block this is."""
    return _current.get()


class Condition:
    """Something that may hold or not while a call runs; join several with `&`, `|` and `~`."""

    def __init__(self, dag: Dag, spec: PredicateSpec) -> None:
        self.dag = dag
        self.spec = spec

    def __and__(self, other: Condition) -> Condition:
        return all_of(self, other)

    def __or__(self, other: Condition) -> Condition:
        return any_of(self, other)

    def __invert__(self) -> Condition:
        return Condition(self.dag, PredicateSpec(Op.NOT, children=[self.spec]))

    def __bool__(self) -> bool:
        raise invalid(
            "a condition of a DAG is known only while a call runs: use `with squall.when(condition):` instead of "
            "`if`, and "
            "&, | and ~ instead of and, or and not (a < x < b is (a < x) & (x < b))"
        )


def _joined(op: Op, what: str, conditions: Sequence[Condition]) -> Condition:
    if not conditions or not all(isinstance(c, Condition) for c in conditions):
        raise invalid(f"{what}() joins conditions such as score < 0.5 or squall.present(text); got {conditions!r:.80}")
    return Condition(conditions[0].dag, PredicateSpec(op, children=[c.spec for c in conditions]))


def all_of(*conditions: Condition) -> Condition:
    return _joined(Op.ALL, "all_of", conditions)


def any_of(*conditions: Condition) -> Condition:
    return _joined(Op.ANY, "any_of", conditions)


def present(value: Any) -> Condition:
    """Holds unless the stage that makes the value was skipped."""
    symbolic = _single(value)
    if symbolic is None:
        raise invalid(f"present() asks about a value of a DAG, not {value!r:.60}")
    return symbolic._compare(Op.PRESENT, 0.0)


class Value:
    """What a stage will make, or what a call will bring. Comparisons with numbers or text are conditions."""

    __hash__ = object.__hash__

    def __init__(self, dag: Dag, binding: Binding, port: Port | None) -> None:
        self._dag = dag
        self._binding = binding
        self._port = port

    def _compare(self, op: Op, operand: Any) -> Condition:
        if isinstance(operand, bytes):
            operand = operand.decode()
        if isinstance(operand, bool):
            operand = int(operand)
        if not isinstance(operand, (int, float, str)):
            raise invalid(f"{self._binding} can be compared with a number or text, not {operand!r:.60}")
        if isinstance(operand, str) and op not in (Op.EQUAL, Op.NOT_EQUAL):
            raise invalid(f"{self._binding} can be equal to text or not, but not less or more than {operand!r}")
        return Condition(self._dag, PredicateSpec(op, self._binding, operand))

    def __lt__(self, other: Any) -> Condition:
        return self._compare(Op.BELOW, other)

    def __gt__(self, other: Any) -> Condition:
        return self._compare(Op.ABOVE, other)

    def __le__(self, other: Any) -> Condition:
        return self._compare(Op.AT_MOST, other)

    def __ge__(self, other: Any) -> Condition:
        return self._compare(Op.AT_LEAST, other)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(Op.EQUAL, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(Op.NOT_EQUAL, other)

    def __bool__(self) -> bool:
        raise invalid(
            f"{self._binding} has no value yet: it will have one when the DAG is called; use `with squall.when(...)` "
            "instead of `if`"
        )

    def __iter__(self) -> Iterator[Any]:
        raise invalid(
            f"{self._binding} has no elements yet; run a function for each element of a list with "
            "function(squall.each(value))"
        )

    def __repr__(self) -> str:
        return f"<{self._binding} of {self._dag.name}>"


class StageResult:
    """The outputs of a stage: `stage.output`. With a single output it can be used for that output."""

    def __init__(self, dag: Dag, stage: StageSpec, outputs: Sequence[Port] | None, where: str) -> None:
        self._dag = dag
        self._stage = stage
        self._outputs = outputs
        self._where = where

    def _value(self, name: str) -> Value:
        found = None
        if self._outputs is not None:
            ports = {p.name: p for p in self._outputs}
            if name not in ports:
                raise AttributeError(
                    f"{self._where} has no output '{name}'" + _nearest(name, list(ports)), name=name, obj=self
                )
            declared = ports[name]
            found = Port(name, declared.datatype, declared.shape, declared.list or bool(self._stage.map))
        return Value(self._dag, Binding(Source.STAGE_OUTPUT, self._stage.name, name), found)

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._value(name)

    def __getitem__(self, name: str) -> Value:
        """For outputs whose names are no Python names."""
        try:
            return self._value(name)
        except AttributeError as e:
            raise invalid(str(e)) from None

    def _single(self) -> Value:
        if self._outputs is None or len(self._outputs) != 1:
            names = "" if self._outputs is None else f" ({', '.join(p.name for p in self._outputs)})"
            raise invalid(f"say which output of {self._where} is meant{names}, such as {self._stage.name}.NAME")
        return self._value(self._outputs[0].name)

    def __lt__(self, other: Any) -> Condition:
        return self._single() < other

    def __gt__(self, other: Any) -> Condition:
        return self._single() > other

    def __le__(self, other: Any) -> Condition:
        return self._single() <= other

    def __ge__(self, other: Any) -> Condition:
        return self._single() >= other

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._single() == other

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._single() != other

    def __bool__(self) -> bool:
        return bool(self._single())

    def __repr__(self) -> str:
        return f"<{self._where}>"


class Each:
    """Marks an input whose list is taken apart."""

    def __init__(self, value: Any) -> None:
        self.value = value


def each(value: Any) -> Any:
    """The stage runs once for each element of this list, and its outputs are lists in that order. Inputs not marked are
    given whole to each element; several that are marked have the same length."""
    if _single(value) is None:
        raise invalid(f"each() takes a list apart that a stage made or a call brings, not {value!r:.60}")
    return Each(value)


@contextmanager
def when(condition: Condition) -> Iterator[None]:
    """Stages added inside of the block run only if the condition holds; else they are skipped and their outputs
    absent."""
    dag = current()
    if not isinstance(condition, Condition):
        raise invalid(f"when() wants a condition such as score < 0.97, not {condition!r:.60}")
    if dag is None:
        raise invalid("when() belongs inside of `with squall.Dag(...)`")
    dag._conditions.append(condition)
    try:
        yield
    finally:
        dag._conditions.pop()


def _single(value: Any) -> Value | None:
    if isinstance(value, StageResult):
        return value._single()
    return value if isinstance(value, Value) else None


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; it has {', '.join(names) or 'none'}"


def _line() -> str:
    """Where the user's code is."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOLDER):
        frame = frame.f_back
    return f"{pathlib.Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


class Dag:
    """Stages joined by edges, put together by calling functions on symbolic values:

    with squall.Dag("read-line") as d:
        crop = d.input("crop", np.float32, [1, 3, 48, -1])
        fast = read_tiny(crop)
        with squall.when(fast.confidence < 0.97):
            slow = read_small(crop)
        d.output(text=pick.options(join=squall.ANY_PRESENT)(a=slow.text, b=fast.text))
    """

    def __init__(self, name: str, *, version: int = 1, optimize: Sequence[str] = ()) -> None:
        """`optimize` names rewrite rules: "fuse", "compete", "locality"."""
        if isinstance(optimize, str):
            raise invalid(
                f"optimize={optimize!r} of the DAG '{name}' is one text; write a list: optimize=[{optimize!r}]"
            )
        self.name = check_name("a DAG", name)
        self.version = version
        self.optimize = list(optimize)
        self.functions: dict[str, Function] = {}
        self._inputs: dict[str, Port] = {}
        self._stages: dict[str, StageSpec] = {}
        self._lines: dict[str, str] = {}
        self._outputs: dict[str, Binding] = {}
        self._conditions: list[Condition] = []
        self._token: contextvars.Token[Dag | None] | None = None

    def __enter__(self) -> Dag:
        if (outer := current()) is not None:
            raise invalid(f"the DAG '{self.name}' begins inside of '{outer.name}'; DAGs do not nest")
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _current.reset(self._token)
        self._token = None

    def __repr__(self) -> str:
        return f"<squall DAG {self.target}: {', '.join(self._stages)}>"

    @property
    def target(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def inputs(self) -> list[Port]:
        return list(self._inputs.values())

    # -- putting it together

    def input(self, name: str, datatype: Any, shape: Any = None, *, list: bool = False, optional: bool = False) -> Any:
        """A value that a call brings: a datatype as for @squall.function, its shape, and whether it is a list of
        such."""
        from squall.functions import typed_port

        check_name("an input", name)
        if name in self._inputs:
            raise invalid(f"the DAG '{self.name}' has two inputs '{name}' ({_line()})")
        made = typed_port(name, datatype) if shape is None else port(name, (datatype, shape))
        self._inputs[name] = Port(name, made.datatype, made.shape, list or made.list, optional or made.optional)
        return Value(self, Binding(Source.DAG_INPUT, port=name), self._inputs[name])

    def output(self, *values: Any, **named: Any) -> None:
        """What a call gives back: by name, or a value under the name that its stage gave it."""
        for value in values:
            single = self._own(value, "an output")
            named.setdefault(single._binding.port, single)
        for name, value in named.items():
            check_name("an output", name)
            if name in self._outputs:
                raise invalid(
                    f"the DAG '{self.name}' has two outputs '{name}' ({_line()}); give them names: d.output(a=..., "
                    "b=...)"
                )
            self._outputs[name] = self._own(value, f"the output '{name}'")._binding

    def _own(self, value: Any, what: str) -> Value:
        single = _single(value)
        if single is None:
            raise invalid(
                f"{what} of the DAG '{self.name}' ({_line()}) is {value!r:.60}; it is a value that a stage made or a "
                "call brings"
            )
        if single._dag is not self:
            raise invalid(
                f"{what} of the DAG '{self.name}' ({_line()}) is a value of another DAG, '{single._dag.name}'"
            )
        return single

    def add_stage(
        self, function: Function, options: StageOptions, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> StageResult:
        name = self._stage_name(function, options)
        line = _line()
        where = f"stage '{name}' of '{self.name}' ({line})"
        if (known := self.functions.get(function.name)) is not None and known is not function:
            raise invalid(
                f"{where} runs another function under the name '{function.name}' than the stages before it; give one "
                "of them another name"
            )
        stage = StageSpec(
            name,
            function.name,
            {},
            version=function.version or 0,
            width_max=options.width_max,
            join=options.join,
            may_fail=options.may_fail,
            variant=options.variant,
            compete=options.compete,
        )
        for port_name, value in self._arguments(where, function, args, kwargs).items():
            declared = next((p for p in function.inputs or () if p.name == port_name), None)
            stage.inputs[port_name] = self._binding(where, stage, port_name, declared, value)
        stage.when = self._condition(where, options.when)
        self._stages[name] = stage
        self._lines[name] = line
        self.functions[function.name] = function
        return StageResult(self, stage, function.outputs, where)

    def _stage_name(self, function: Function, options: StageOptions) -> str:
        if options.name:
            if options.name in self._stages:
                raise invalid(
                    f"the DAG '{self.name}' has two stages '{options.name}' ({self._lines[options.name]} and {_line()})"
                )
            return options.name
        base = function.name.replace(".", "-")
        name, number = base, 1
        while name in self._stages:
            number += 1
            name = f"{base}-{number}"
        return name

    def _arguments(
        self, where: str, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        given = dict(kwargs)
        ports = function.inputs
        if ports is None:
            if args:
                raise invalid(
                    f"{where}: the inputs of '{function.name}' are not known here; name them: {function.name}(x=...)"
                )
            return given
        names = [p.name for p in ports]
        if len(args) > len(names):
            raise invalid(f"{where}: '{function.name}' has {len(names)} inputs ({', '.join(names)}), not {len(args)}")
        for port_name, value in zip(names, args, strict=False):
            if port_name in given:
                raise invalid(f"{where}: the input '{port_name}' is given twice")
            given[port_name] = value
        for port_name in given:
            if port_name not in names:
                raise invalid(f"{where}: '{function.name}' has no input '{port_name}'" + _nearest(port_name, names))
        missing = [p.name for p in ports if not p.optional and p.name not in given]
        if missing:
            raise invalid(f"{where}: the input '{missing[0]}' of '{function.name}' is missing")
        return {port_name: given[port_name] for port_name in names if port_name in given}

    def _binding(self, where: str, stage: StageSpec, port_name: str, declared: Port | None, value: Any) -> Binding:
        mapped = isinstance(value, Each)
        if mapped:
            stage.map.append(port_name)
            value = value.value
        single = _single(value)
        if single is None:
            what = f"the constant '{port_name}' of {where}"
            try:
                constant = encode_plain(value) if declared is None else encode_for(what, declared, value)
            except SquallError as e:
                raise invalid(e.message if e.message.startswith(what) else f"{what}: {e.message}") from None
            return Binding(Source.CONSTANT, constant=constant)
        if single._dag is not self:
            raise invalid(f"{where}: the input '{port_name}' is a value of another DAG, '{single._dag.name}'")
        self._check_types(where, port_name, declared, single, mapped)
        return single._binding

    @staticmethod
    def _check_types(where: str, port_name: str, declared: Port | None, value: Value, mapped: bool) -> None:
        made = value._port
        if made is None:
            return
        if mapped and not made.list:
            raise invalid(f"{where}: the input '{port_name}' is mapped, but {value._binding} is {made}, not a list")
        if declared is None:
            return
        given = Port(made.name, made.datatype, made.shape) if mapped else made
        if given.list and not declared.list:
            raise invalid(
                f"{where}: the input '{port_name}' wants {declared}, and {value._binding} is {given}; "
                f"run it for each element with {port_name}=squall.each(...)"
            )
        same_rank = len(given.shape) == len(declared.shape)
        fits = same_rank and all(-1 in (g, d) or g == d for g, d in zip(given.shape, declared.shape, strict=True))
        if given.datatype is not declared.datatype or given.list != declared.list or not fits:
            raise invalid(f"{where}: the input '{port_name}' wants {declared}, and {value._binding} is {given}")

    def _condition(self, where: str, own: Condition | None) -> PredicateSpec | None:
        conditions = [*self._conditions, *([own] if own is not None else [])]
        for condition in conditions:
            if not isinstance(condition, Condition):
                raise invalid(f"{where}: when={condition!r:.60} is no condition such as score < 0.97")
            if condition.dag is not self:
                raise invalid(f"{where}: its condition is about a value of another DAG, '{condition.dag.name}'")
        if not conditions:
            return None
        return (
            conditions[0].spec if len(conditions) == 1 else PredicateSpec(Op.ALL, children=[c.spec for c in conditions])
        )

    # -- using it

    def spec(self) -> DagSpec:
        if not self._stages:
            raise invalid(f"the DAG '{self.name}' has no stages; call functions inside of its `with` block")
        if not self._outputs:
            raise invalid(f"the DAG '{self.name}' has no outputs; add d.output(name=value)")
        stages = list(self._stages.values())
        return DagSpec(self.name, self.inputs, stages, dict(self._outputs), self.version, self.optimize)

    def explain(self, error: SquallError) -> SquallError:
        """The same error with the lines of the stages that it names."""
        lines = [f"'{name}' at {line}" for name, line in self._lines.items() if f"'{name}'" in error.message]
        if not lines:
            return error
        return SquallError(error.code, f"{error.message} [stage {', '.join(lines)}]", retry_after=error.retry_after)

    def register(self, cluster: Any = None, *, replace: bool = False) -> Dag:
        """Registers the DAG, and the functions that it uses, with a cluster (the one whose `with` block this is)."""
        from squall.cluster import current_cluster

        (cluster or current_cluster(f"register the DAG '{self.name}'")).register(self, replace=replace)
        return self

    def __call__(self, inputs: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
        """Calls it in the cluster whose `with` block this is, and waits."""
        from squall.cluster import current_cluster

        if current() is not None:
            raise invalid(
                f"the DAG '{self.name}' is called inside of `with squall.Dag(...)`; only functions can be stages"
            )
        return current_cluster(f"call the DAG '{self.name}'").call(self, {**(inputs or {}), **named}).result()
