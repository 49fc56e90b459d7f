"""Calls on their way and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from squall import protocol
from squall.errors import SquallError, code_of, invalid
from squall.futures import Future
from squall.outcomes import FIRM_PPM, NO_COST_LIMIT, Offer, Outcome, Promise, Receipt, StageTrace, outcome_of

if TYPE_CHECKING:
    from squall.engine import Engine, Lease

PREFERENCES = ("cheapest", "fastest", "least-loaded")
_NO_SEQUENCE = (0, False, False)
_NO_OPTIONS = protocol.options_body(0, 0, _NO_SEQUENCE, NO_COST_LIMIT, 0, 0)


class Result(Mapping[str, Any]):
    """The outputs of a call by name: arrays, lists of them, or None where a stage was skipped.

    Arrays are read-only; large ones lie in the cluster's shared memory, which gets it back when the last of them is
    dropped or the connection is closed: copy what is to outlive it. BYTES come as arrays of `bytes`.
    """

    __slots__ = ("_body", "_decoded", "_outcome", "_raw", "_reader")

    def __init__(self, body: list[Any], reader: protocol.Reader) -> None:
        self._body = body
        self._reader = reader
        self._raw = {name: value for name, value in body[2]}
        self._decoded: dict[str, Any] = {}
        self._outcome: Outcome | None = None

    def __getitem__(self, name: str) -> Any:
        if name not in self._decoded:
            if name not in self._raw:
                raise KeyError(f"no output '{name}'; outputs: {', '.join(self._raw)}")
            self._decoded[name] = self._reader.value(self._raw[name])
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __repr__(self) -> str:
        return f"Result({', '.join(f'{name}={self[name]!r}' for name in self)})"

    @property
    def outputs(self) -> dict[str, Any]:
        return {name: self[name] for name in self._raw}

    @property
    def value(self) -> Any:
        """The only output."""
        if len(self._raw) != 1:
            raise invalid(f"this call has {len(self._raw)} outputs ({', '.join(self._raw)}); name one: result['...']")
        return self[next(iter(self._raw))]

    def text(self, name: str | None = None) -> str | None:
        """A BYTES output of one element (the only output, or by name) as text; None when it is absent."""
        value = self.value if name is None else self[name]
        if value is None:
            return None
        if not isinstance(value, np.ndarray) or value.dtype != object or value.size != 1:
            raise invalid(
                f"the output {name or next(iter(self._raw))!r} is not one element of BYTES; it is {value!r:.80}"
            )
        return value.ravel()[0].decode("utf-8", "surrogateescape")

    @property
    def id(self) -> int:
        """Of the call."""
        return self._body[0]

    @property
    def outcome(self) -> Outcome:
        if self._outcome is None:
            self._outcome = outcome_of(self._body[1], self._body[0])
        return self._outcome

    @property
    def trace(self) -> list[StageTrace]:
        return self.outcome.trace

    @property
    def promise(self) -> Promise:
        return self.outcome.promise

    @property
    def receipt(self) -> Receipt:
        return self.outcome.receipt

    @property
    def elapsed(self) -> float:
        """Seconds in the cluster."""
        return self.outcome.elapsed


class Call(Future[Result]):
    """A call on its way. Dropping it does not cancel the call."""

    __slots__ = (
        "_engine",
        "again_at",
        "blocks",
        "body",
        "deadline_ns",
        "doubtful",
        "first_refused",
        "frames",
        "give_up",
        "id",
        "name",
        "on_partial",
        "sent",
        "then_call",
        "withdrawn",
    )

    def __init__(self, engine: Engine, id: int, name: str, deadline_ns: int) -> None:
        super().__init__()
        self._engine = engine
        self.id = id
        self.name = name
        self.deadline_ns = deadline_ns
        self.frames: list[Any] = []
        self.body: list[Any] = []  # for sending it again
        self.sent = False  # on whatever connection
        self.doubtful = False  # sent on one that broke: it may have run, whatever a later controller says
        self.again_at = float("inf")
        self.first_refused: float | None = None  # for now
        self.blocks: list[Sequence[int]] = []  # of our arena, given back at the end
        self.give_up = float("inf")
        self.withdrawn = False
        self.on_partial: Callable[[str, Mapping[str, Any]], None] | None = None
        self.then_call: Callable[..., Future[Result]] | None = None

    def then(
        self, target: Any, inputs: Callable[[Result], Mapping[str, Any]] | None = None, /, **options: Any
    ) -> Future[Result]:
        """Another DAG or function continues: it is called with this call's outputs (those of the same names as its
        inputs go there), or with what `inputs(result)` makes of them, as soon as they are there. The future is of the
        last."""
        assert self.then_call is not None
        return self.then_call(self, target, inputs, options)

    def cancel(self) -> bool:
        """Asks the cluster to end it; it ends as cancelled, or with its result if that was faster. False: it has
        ended."""
        if self._done:
            return False
        self._engine.cancel(self.id)
        return True

    def _arrive(self, body: list[Any], payloads: list[bytes], lease: Lease | None) -> None:
        code = body[1][0]
        if code == 0:
            return self._finish(Result(body, protocol.Reader(payloads, self._engine.arenas.reader(lease))))
        outcome = outcome_of(body[1], self.id)
        self._finish(
            None,
            SquallError(
                code_of(code),
                outcome.message,
                retry_after=outcome.retry_after_ns / 1e9,
                offers=outcome.offers,
                outcome=outcome,
            ),
        )

    def _arrive_partial(self, body: list[Any], payloads: list[bytes]) -> None:
        if self.on_partial is None:
            return
        # Copies: the memory is theirs for as long as the call runs, the callback's for as long as it likes.
        reader = protocol.Reader(payloads, lambda reference: self._engine.arenas.resolve(reference).copy())
        try:
            outputs = {name: reader.value(value) for name, value in body[4]}
        except SquallError:
            return  # it is an extra, and the result will tell what is wrong
        self._run(lambda _: self.on_partial(body[1], outputs))

    def _what(self) -> str:
        return f"the call of {self.name}"


def to_ns(what: str, value: float | timedelta | None) -> int:
    """A duration as users write it: seconds, or a timedelta."""
    if value is None:
        return 0
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float, np.integer, np.floating)):
        raise invalid(f"{what} is {value!r}; write seconds such as 0.08, or a timedelta")
    if not 0 < number < 1e9:
        raise invalid(f"{what} is {value!r} s; it must be more than 0 s")
    return max(1, round(float(number) * 1e9))


def options_body(
    *,
    deadline: float | timedelta | None,
    max_cost: float | None,
    assurance: float | str | None,
    prefer: str,
    priority: int,
    sequence: int | None,
    sequence_start: bool,
    sequence_end: bool,
    offer: Offer | None = None,
    stream: bool = False,
    then: Sequence[str] = (),
    durable: bool = False,
) -> list[Any]:
    """The options of a call, checked, as its message has them."""
    if (
        deadline is max_cost is assurance is sequence is offer is None
        and prefer == "cheapest"
        and not (priority or sequence_start or sequence_end or stream or then or durable)
    ):
        return _NO_OPTIONS
    if prefer not in PREFERENCES:
        raise invalid(f"prefer={prefer!r} is not known; it is one of {', '.join(PREFERENCES)}")
    if not isinstance(priority, int) or not 0 <= priority < 2**32:
        raise invalid(f"priority={priority!r}; it is a whole number from 0 on, higher first")
    if sequence is None and (sequence_start or sequence_end):
        raise invalid("sequence_start and sequence_end need sequence=NUMBER")
    if sequence is not None and (not isinstance(sequence, int) or not 0 < sequence < 2**64):
        raise invalid(f"sequence={sequence!r}; it is a whole number from 1 on")
    return protocol.options_body(
        to_ns("deadline", deadline),
        priority,
        (sequence or 0, sequence_start, sequence_end),
        _micro_cost(max_cost),
        _assurance_ppm(assurance),
        PREFERENCES.index(prefer),
        offer.ticket if offer else 0,
        offer.call if offer else 0,
        stream,
        [then] if isinstance(then, str) else list(then),
        durable,
    )


def _micro_cost(max_cost: float | None) -> int:
    if max_cost is None:
        return NO_COST_LIMIT
    if isinstance(max_cost, bool) or not isinstance(max_cost, (int, float)) or not 0 <= max_cost < 9e12:
        raise invalid(f"max_cost={max_cost!r}; it is a number from 0 on, in the unit of the cluster's prices")
    return round(max_cost * 1e6)


def _assurance_ppm(assurance: float | str | None) -> int:
    if assurance is None:
        return 0
    if assurance == "firm":
        return FIRM_PPM
    if isinstance(assurance, bool) or not isinstance(assurance, (int, float)) or not 0 < assurance <= 1:
        raise invalid(f"assurance={assurance!r}; it is 'firm', or a share of calls above 0 and up to 1, such as 0.97")
    return round(assurance * FIRM_PPM)
