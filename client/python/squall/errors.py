"""The one exception of the package, and its codes."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squall.outcomes import Offer, Outcome


class Code(enum.IntEnum):
    """What went wrong, in terms that a caller can act on. The numbers are those of the protocol."""

    OK = 0
    INVALID_ARGUMENT = 1  # the request can never succeed as it is: wrong type, shape, name, value
    NOT_FOUND = 2  # the named thing does not exist
    ALREADY_EXISTS = 3  # the named thing exists and differs
    OVERLOADED = 4  # a bound is reached; worth trying again after `retry_after`
    DEADLINE_EXCEEDED = 5  # the deadline passed; no further work is started for it
    CANCELLED = 6  # somebody who may do so withdrew it
    UNAVAILABLE = 7  # a process that is needed cannot be reached now
    DATA_LOSS = 8  # state or a value that was held is gone
    TOO_LARGE = 9  # larger than the stated limit
    PERMISSION_DENIED = 10
    UNSUPPORTED = 11  # known, but not possible here
    CORRUPT = 12  # bytes that do not decode
    FAILED = 13  # the user's function or model reported an error
    INTERNAL = 14  # a fault of Squall or of a library

    def __str__(self) -> str:
        return self.name.lower()


def code_of(number: int) -> Code:
    """A code that a newer server may know and this client does not counts as internal."""
    try:
        return Code(number)
    except ValueError:
        return Code.INTERNAL


class SquallError(Exception):
    """Everything that goes wrong between the caller and the cluster.

    `code` says what to do about it, `message` names the thing and what would fix it. `retry_after` is in seconds (0:
    not known). A call that was refused carries `offers`: what could be promised instead.
    """

    def __init__(
        self,
        code: Code | int,
        message: str,
        *,
        retry_after: float = 0.0,
        offers: Sequence[Offer] = (),
        outcome: Outcome | None = None,
    ) -> None:
        self.code = code_of(code)
        self.message = message
        self.retry_after = retry_after
        self.offers = list(offers)
        self.outcome = outcome
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (int(self.code), self.message, self.retry_after, self.offers))


def _rebuild(code: int, message: str, retry_after: float, offers: list[Offer]) -> SquallError:
    return SquallError(code, message, retry_after=retry_after, offers=offers)


def invalid(message: str) -> SquallError:
    """Wrong use that can be told without asking the cluster."""
    return SquallError(Code.INVALID_ARGUMENT, message)
