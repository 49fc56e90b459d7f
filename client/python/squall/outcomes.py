"""What a caller is told about a call: the promise, the receipt, the trace, offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from squall.errors import Code, code_of

NO_COST_LIMIT = 2**63 - 1
FIRM_PPM = 1_000_000

T = TypeVar("T")


def seconds(ns: int) -> float:
    return ns / 1e9


def _filled(cls: type[T], fields: Sequence[Any]) -> T:
    """A struct of plain fields; a newer sender may give more of them, an older one fewer."""
    return cls(*fields[: len(cls.__dataclass_fields__)])  # type: ignore[attr-defined]


@dataclass
class Offer:
    """What could be promised instead of a call that was refused; take it with `cluster.redeem(error, offer)` while it
    is valid."""

    ticket: int = 0
    finish_ns: int = 0
    cost_micro: int = 0
    how: str = ""
    valid_for_ns: int = 0
    call: int = 0  # that was refused

    @property
    def finish(self) -> float:
        """Seconds from the arrival of the refused call."""
        return seconds(self.finish_ns)

    @property
    def cost(self) -> float:
        return self.cost_micro / 1e6

    @property
    def valid_for(self) -> float:
        return seconds(self.valid_for_ns)


@dataclass
class Promise:
    """What an admitted call was promised; nothing without SLOs (`assurance` is 0 then)."""

    finish_ns: int = 0
    cost_micro: int = NO_COST_LIMIT
    assurance_ppm: int = 0
    expected_ns: int = 0
    why: str = ""

    @property
    def finish(self) -> float:
        return seconds(self.finish_ns)

    @property
    def cost(self) -> float | None:
        return None if self.cost_micro == NO_COST_LIMIT else self.cost_micro / 1e6

    @property
    def assurance(self) -> float:
        return self.assurance_ppm / FIRM_PPM

    @property
    def expected(self) -> float:
        return seconds(self.expected_ns)


@dataclass
class Receipt:
    """What a call used."""

    cpu_ns: int = 0
    device_ns: int = 0
    loading_ns: int = 0
    bytes_moved: int = 0
    cost_micro: int = 0
    missing: int = 0
    """Stages whose results the answer went without, since they were not there in time."""

    @property
    def cost(self) -> float:
        return self.cost_micro / 1e6


@dataclass
class StageTrace:
    """What one stage of one call did; the fields of docs/wire.md."""

    stage: int = 0
    node: int = 0
    lane: int = 0
    skipped: bool = False
    failed: bool = False
    width: int = 1
    batch: int = 1
    begin_ns: int = 0
    queued_ns: int = 0
    loading_ns: int = 0
    executed_ns: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_moved: int = 0
    late: bool = False
    cancelled: bool = False


@dataclass
class Outcome:
    """How a call ended."""

    code: Code = Code.OK
    message: str = ""
    retry_after_ns: int = 0
    trace: list[StageTrace] = field(default_factory=list)
    elapsed_ns: int = 0
    promise: Promise = field(default_factory=Promise)
    receipt: Receipt = field(default_factory=Receipt)
    offers: list[Offer] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        """Seconds from the arrival at the controller to the end there."""
        return seconds(self.elapsed_ns)


def outcome_of(fields: Sequence[Any], call: int) -> Outcome:
    outcome = _filled(Outcome, fields)
    outcome.code = code_of(int(outcome.code))
    outcome.trace = [_filled(StageTrace, t) for t in outcome.trace]  # type: ignore[arg-type]
    if isinstance(outcome.promise, list):
        outcome.promise = _filled(Promise, outcome.promise)
    if isinstance(outcome.receipt, list):
        outcome.receipt = _filled(Receipt, outcome.receipt)
    outcome.offers = [_filled(Offer, o[:5]) for o in outcome.offers]  # type: ignore[index]
    for offer in outcome.offers:
        offer.call = call
    return outcome
