"""What can be run: decorated Python callables, builtins, models, native libraries, and what a cluster knows already."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import inspect
import io
import os
import pathlib
import sys
import sysconfig
import typing
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from squall import dags
from squall.datatypes import DataType, Port, datatype_of, port
from squall.errors import SquallError, invalid
from squall.specs import (
    ALL_PRESENT,
    FunctionSpec,
    Join,
    Resource,
    Variant,
    VariantKind,
    Workers,
    check_name,
)

# Python types that stand for one element, and what a function of Python gets for them.
_SCALARS: dict[Any, DataType] = {
    float: DataType.FP64,
    int: DataType.INT64,
    bool: DataType.BOOL,
    bytes: DataType.BYTES,
    str: DataType.BYTES,
}


@dataclass(frozen=True)
class StageOptions:
    """How a stage of a DAG runs a function; see Function.options()."""

    name: str = ""
    variant: str = ""
    join: Join = ALL_PRESENT
    when: Any = None
    may_fail: bool = False
    width_max: int = 0
    compete: int = 0


class Function:
    """Something that can be run. Within `with Dag(...)` calling it adds a stage; `cluster.call(function, {...})` runs
    it."""

    def __init__(
        self, name: str, inputs: Sequence[Port] | None, outputs: Sequence[Port] | None, version: int | None
    ) -> None:
        self.name = check_name("a function", name)
        if version is not None and (not isinstance(version, int) or version < 1):
            raise invalid(f"the version of '{name}' is {version!r}; versions are numbers from 1 on")
        self.version = version
        self.inputs = None if inputs is None else list(inputs)
        self.outputs = None if outputs is None else list(outputs)

    @property
    def target(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"

    def prepare(self) -> tuple[FunctionSpec | None, dict[str, bytes]]:
        """The spec to register, and what has to be in the store first. None: the cluster knows the function."""
        return None, {}

    def options(
        self,
        *,
        name: str = "",
        variant: str = "",
        join: Join = ALL_PRESENT,
        when: dags.Condition | None = None,
        may_fail: bool = False,
        max_width: int = 0,
        compete: int = 0,
    ) -> Configured:
        """The same function with the settings of a stage: its name, one variant of the function, when several
        producers are enough (`squall.ANY_PRESENT`, `squall.at_least(2, wait=0.04)`), a condition, whether its failure
        counts as skipping, how many elements a map may have, and how many replicas run against each other when the DAG
        says `optimize=["compete"]`."""
        if name:
            check_name("a stage", name, stage=True)
        if not isinstance(join, Join):
            raise invalid(f"join={join!r}; it is squall.ALL_PRESENT, squall.ANY_PRESENT or squall.at_least(k, wait)")
        return Configured(self, StageOptions(name, variant, join, when, may_fail, max_width, compete))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        dag = dags.current()
        if dag is None:
            return self._call_outside(args, kwargs)
        return dag.add_stage(self, StageOptions(), args, kwargs)

    def _call_outside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise invalid(
            f"'{self.name}' runs in a cluster: use cluster.call({self.name!r}, {{...}}), or call it within `with "
            "squall.Dag(...)`"
        )

    def __repr__(self) -> str:
        return f"<squall function {self.target}>"


class Configured:
    """A function with the settings of a stage."""

    def __init__(self, function: Function, options: StageOptions) -> None:
        self._function = function
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        dag = dags.current()
        if dag is None:
            raise invalid(
                f"options() of '{self._function.name}' are those of a stage; call it within `with squall.Dag(...)`"
            )
        return dag.add_stage(self._function, self._options, args, kwargs)


# ---- Python


class PythonFunction(Function):
    """A Python callable that workers of the cluster run. Outside of a DAG, calling it runs it here."""

    def __init__(
        self,
        callable: Callable[..., Any] | None,
        name: str,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        variant: Variant,
        *,
        version: int = 1,
        repeatable: bool = False,
        archive: bytes | None = None,
    ) -> None:
        super().__init__(name, inputs, outputs, version)
        self.callable = callable
        self._variant = variant
        self._repeatable = repeatable
        self._archive = archive

    def prepare(self) -> tuple[FunctionSpec | None, dict[str, bytes]]:
        code = pickled(self.callable) if self.callable is not None else self._archive or b""
        key = f"models/{hashlib.sha256(code).hexdigest()[:32]}-{self.name}.pkl"
        assert self.inputs is not None and self.outputs is not None
        spec = FunctionSpec(
            self.name,
            self.inputs,
            self.outputs,
            [replace(self._variant, target=key)],
            version=self.version or 1,
            repeatable=self._repeatable,
        )
        return spec, {key: code}

    def _call_outside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.callable is None:
            return super()._call_outside(args, kwargs)
        return self.callable(*args, **kwargs)


def pickled(callable: Callable[..., Any]) -> bytes:
    """The callable by value, with what it needs of its own module unless that is installed."""
    import cloudpickle

    module = sys.modules.get(getattr(callable, "__module__", None) or "")
    try:
        with _by_value(module):
            return cloudpickle.dumps(callable, protocol=5)
    except SquallError:
        raise
    except Exception as e:
        name = getattr(callable, "__qualname__", repr(callable))
        raise invalid(
            f"{name} cannot be pickled ({type(e).__name__}: {e}); make what it refers to (connections, locks, files) "
            "inside of it, "
            "or in the __init__ of a class"
        ) from e


@contextlib.contextmanager
def _by_value(module: Any) -> Iterator[None]:
    import cloudpickle

    name = getattr(module, "__name__", "__main__")
    if name == "__main__" or _installed(module) or name in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _installed(module: Any) -> bool:
    """Whether workers can import it: a part of Python or of an installed package."""
    file = getattr(module, "__file__", None)
    if file is None:
        return True
    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    if module.__name__.partition(".")[0] == "squall":
        return True
    return any(pathlib.Path(file).is_relative_to(root) for root in roots)


def function(
    callable: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    version: int = 1,
    batched: bool = False,
    max_batch: int = 0,
    max_delay: float = 0.0,
    threads: int = 1,
    memory_bytes: int = 0,
    requirements: Sequence[str] = (),
    network: bool = False,
    min_instances: int = 0,
    max_instances: int = 0,
    keep_alive: float = 0.0,
    memory_limit_bytes: int = 0,
    scratch_bytes: int = 0,
    cpu_time: float = 0.0,
    processes: int = 0,
    open_files: int = 0,
    repeatable: bool = False,
    parameters: Mapping[str, str] | None = None,
    entry: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Makes a function of a Python callable: `@squall.function`, or `@squall.function(inputs={"x": np.float32}, ...)`.

    `inputs` and `outputs` name the ports with their types: a numpy dtype (any length), `(dtype, shape)` with -1 for a
    free dimension, `(dtype, shape, "list")`, or `float, int, bool, bytes, str` for one element, which the callable
    then gets as that type. Left out, they are read from annotations of those five types; an output without a name is
    called `value`. Arrays given to the callable are read-only and valid until it returns.

    A class is made once in each worker (warm) and called for each item; a generator's items are its partial results.
    With `batched`, each argument is a list with a value for each item of the batch, and a list with as many results
    comes back; `max_batch` items at most, waiting at most `max_delay` seconds for each other. `requirements` are what
    pip would be given; `network`: it may use the host's; `repeatable`: it may run again when its worker has died.
    `entry="module:name"` instead of a callable runs what workers can import, with `path` (a folder or zip) on their
    `sys.path`.
    """

    def wrap(target: Callable[..., Any] | None) -> PythonFunction:
        label = name or (target.__name__ if target is not None else (entry or "").rpartition(":")[2])
        ins, outs, conversions = _signature(label, target, inputs, outputs)
        settings = {key: str(value) for key, value in (parameters or {}).items()}
        settings.update({f"type.{port_name}": kind for port_name, kind in conversions.items()})
        if batched:
            settings["batched"] = "true"
        if requirements:
            settings["requirements"] = "\n".join(_requirements(label, requirements))
        if entry is not None:
            settings["entry"] = _entry(entry)
        if max_batch > 1 and not batched:
            raise invalid(f"max_batch={max_batch} of '{label}' needs batched=True: its callable then gets lists")
        variant = Variant(
            VariantKind.PYTHON,
            "",
            parameters=settings,
            max_batch=max_batch or (32 if batched else 1),
            max_delay=max_delay,
            threads=threads,
            memory_bytes=memory_bytes,
            workers=Workers(
                min_instances,
                max_instances,
                keep_alive,
                memory_limit_bytes,
                scratch_bytes,
                cpu_time,
                processes,
                open_files,
                network,
            ),
        )
        archive = None if path is None else _archive(pathlib.Path(path))
        return PythonFunction(
            target, label, ins, outs, variant, version=version, repeatable=repeatable, archive=archive
        )

    if entry is not None:
        if callable is not None:
            raise invalid("give a callable or entry='module:name', not both")
        return wrap(None)
    if path is not None:
        raise invalid("path= goes with entry='module:name'; a callable brings its code along")
    return wrap if callable is None else wrap(_checked(callable))


def _checked(target: Any) -> Callable[..., Any]:
    if not callable(target):
        raise invalid(
            f"@squall.function is for functions and classes, not {target!r:.60}; its settings are named: "
            "@squall.function(inputs=...)"
        )
    return target


def _entry(entry: str) -> str:
    module, colon, attribute = entry.partition(":")
    if not (module and colon and attribute):
        raise invalid(f"entry={entry!r}; it is 'module:name', such as 'mypackage.models:predict'")
    return entry


def _requirements(label: str, requirements: Sequence[str]) -> list[str]:
    if isinstance(requirements, str):
        raise invalid(f"requirements of '{label}' is one text; write a list: requirements=[{requirements!r}]")
    for line in requirements:
        if not line.strip() or "\n" in line or line.lstrip().startswith("-"):
            raise invalid(f"{line!r} in the requirements of '{label}' is no package such as 'pillow==11.0.0'")
    return sorted(line.strip() for line in requirements)


def _archive(path: pathlib.Path) -> bytes:
    """A zip with the modules below a folder, the same bytes for the same content; or the zip itself."""
    if path.is_file():
        return path.read_bytes()
    if not path.is_dir():
        raise invalid(f"path={str(path)!r} is neither a folder nor a zip file")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                info = zipfile.ZipInfo(str(file.relative_to(path)), (1980, 1, 1, 0, 0, 0))
                info.external_attr = 0o644 << 16
                archive.writestr(info, file.read_bytes())
    return out.getvalue()


def _signature(
    label: str, target: Any, inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None
) -> tuple[list[Port], list[Port], dict[str, str]]:
    hints: dict[str, Any] = {}
    names: list[str] | None = None
    if target is not None:
        called = target.__call__ if inspect.isclass(target) else target
        names = _parameter_names(called, skip_first=inspect.isclass(target))
        with contextlib.suppress(Exception):
            hints = typing.get_type_hints(called)
    if inputs is None:
        inputs = _inferred(label, names, hints)
    if outputs is None:
        result = hints.get("return")
        if result not in _SCALARS:
            raise invalid(
                f"the outputs of '{label}' are not known; write outputs={{'y': np.float32}}, or annotate the result "
                "with "
                "float, int, bool, bytes or str"
            )
        outputs = {"value": result}
    if names is not None:
        for port_name in inputs:
            if port_name not in names:
                raise invalid(f"'{label}' has no parameter '{port_name}'; parameters: {', '.join(names) or 'none'}")
    conversions = {
        port_name: kind.__name__ for port_name, kind in inputs.items() if isinstance(kind, type) and kind in _SCALARS
    }
    return (
        [typed_port(port_name, kind) for port_name, kind in inputs.items()],
        [typed_port(port_name, kind) for port_name, kind in outputs.items()],
        conversions,
    )


def _inferred(label: str, names: list[str] | None, hints: dict[str, Any]) -> dict[str, Any]:
    unknown = [parameter for parameter in names or [] if hints.get(parameter) not in _SCALARS]
    if names is None or unknown:
        raise invalid(
            f"the type of the parameter {', '.join(map(repr, unknown)) or '?'} of '{label}' is not known; write "
            "inputs={'x': np.float32, ...}, or annotate it with float, int, bool, bytes or str"
        )
    return {parameter: hints[parameter] for parameter in names}


def _parameter_names(called: Any, skip_first: bool) -> list[str] | None:
    """None: anything goes (**kwargs, or no signature to be read)."""
    try:
        parameters = list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters[int(skip_first) :] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def typed_port(name: str, kind: Any) -> Port:
    """A port by a type: one element for Python's own scalars, any length for a numpy dtype alone."""
    check_name("a port", name)
    if isinstance(kind, type) and kind in _SCALARS:
        return Port(name, _SCALARS[kind], (1,))
    return port(name, kind)


# ---- others


class SpecFunction(Function):
    """A function with a spec and files that go with it."""

    def __init__(self, spec: FunctionSpec, uploads: dict[str, bytes]) -> None:
        super().__init__(spec.name, spec.inputs or None, spec.outputs or None, spec.version)
        self._spec = spec
        self._uploads = uploads

    def prepare(self) -> tuple[FunctionSpec | None, dict[str, bytes]]:
        return self._spec, self._uploads


def named(name: str, *, version: int | None = None) -> Function:
    """A function (or, for calls, a DAG) that the cluster knows already."""
    return Function(name, None, None, version)


def builtin(
    builtin: str,
    *,
    name: str | None = None,
    version: int = 1,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    max_batch: int = 1,
    max_delay: float = 0.0,
) -> Function:
    """A function that ships with Squall (functions/builtin/README.md lists them). Its ports need not be given."""
    variant = Variant(
        VariantKind.BUILTIN,
        builtin,
        parameters=_texts(parameters),
        max_batch=max_batch,
        max_delay=max_delay,
    )
    return SpecFunction(FunctionSpec(name or builtin, *_ports(inputs, outputs), [variant], version), {})


def model(
    name: str,
    file: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    precision: str = "f32",
    version: int = 1,
    parameters: Mapping[str, Any] | None = None,
    max_batch: int = 1,
    max_delay: float = 0.0,
    threads: int = 1,
    resource: str = "cpu",
) -> Function:
    """A function that runs an ONNX model."""
    path = pathlib.Path(file)
    if not path.is_file():
        raise invalid(f"the model of '{name}', {path}, is not a file")
    if precision not in ("f32", "bf16"):
        raise invalid(f"precision={precision!r} of '{name}'; it is 'f32' or 'bf16'")
    if resource not in ("cpu", "gpu"):
        raise invalid(f"resource={resource!r} of '{name}'; it is 'cpu' or 'gpu'")
    data = path.read_bytes()
    key = f"models/{hashlib.sha256(data).hexdigest()[:32]}-{path.name}"
    variant = Variant(
        VariantKind.ONNX,
        key,
        name=precision,
        resource=Resource[resource.upper()],
        parameters={"precision": precision, **_texts(parameters)},
        max_batch=max_batch,
        max_delay=max_delay,
        threads=threads,
    )
    return SpecFunction(FunctionSpec(name, *_ports(inputs, outputs), [variant], version), {key: data})


def native(
    name: str,
    library: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    version: int = 1,
    parameters: Mapping[str, Any] | None = None,
    max_batch: int = 1,
    max_delay: float = 0.0,
    workers: Workers | None = None,
    repeatable: bool = False,
) -> Function:
    """A function in a shared library that implements Squall's C interface."""
    path = pathlib.Path(library)
    if not path.is_file():
        raise invalid(f"the library of '{name}', {path}, is not a file")
    data = path.read_bytes()
    key = f"models/{hashlib.sha256(data).hexdigest()[:32]}-{path.name}"
    variant = Variant(
        VariantKind.NATIVE,
        key,
        parameters=_texts(parameters),
        max_batch=max_batch,
        max_delay=max_delay,
        workers=workers or Workers(),
    )
    return SpecFunction(
        FunctionSpec(name, *_ports(inputs, outputs), [variant], version, repeatable=repeatable), {key: data}
    )


def _ports(inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None) -> tuple[list[Port], list[Port]]:
    return (
        [typed_port(name, kind) for name, kind in (inputs or {}).items()],
        [typed_port(name, kind) for name, kind in (outputs or {}).items()],
    )


def _texts(parameters: Mapping[str, Any] | None) -> dict[str, str]:
    return {
        key: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for key, value in (parameters or {}).items()
    }


def nearest(name: str, names: Sequence[str]) -> str:
    """What was probably meant, for the end of a message."""
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(names) or 'none'}"


__all__ = ["Function", "PythonFunction", "builtin", "datatype_of", "function", "model", "named", "native"]
