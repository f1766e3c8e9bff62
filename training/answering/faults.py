"""Why a request has no answer. Each reason is a word of its own, with a sentence for people."""

from dataclasses import dataclass

#: Reason -> what people read in a table of reasons.
REASONS = {
    "rate_limited": "the service asked for fewer requests, again and again",
    "server_error": "the service failed",
    "timed_out": "no whole answer in time",
    "unreachable": "the service could not be reached",
    "cut": "the answer was cut off, or was no JSON",
    "too_long": "the answer was too long",
    "empty": "the answer was empty",
    "refused": "the teacher refused to answer",
    "filtered": "a content filter held the answer back",
    "malformed": "the answer was none of those that were asked for",
    "unfinished": "the answer ended in its middle: max_tokens is too small",
    "bad_request": "the service did not accept this request",
    "redirected": "the service pointed to another address, which is not followed",
    "not_allowed": "the service does not accept the key",
    "no_model": "the service has no such model, or no such address",
    "quota": "the account has no quota left",
    "address_refused": "nothing may be sent to this address",
    "budget": "the budget would be passed",
}
#: The teacher's own words, which asking again would only pay for again.
SAID = frozenset({"empty", "refused", "filtered", "unfinished"})


@dataclass
class Fault(Exception):
    """A request that brought no answer."""

    reason: str
    sentence: str
    again: bool = False  # it may be tried again
    after: float | None = None  # seconds that the service asked to wait
    paid: bool = False  # the service may have answered, and charged for it
    fatal: bool = False  # no other request would fare better

    def __str__(self) -> str:
        return self.sentence


class Stopped(Exception):
    """The asking ended before all was asked: `reason` is one of REASONS, or `away`. What was
    answered until then has been handed over."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason, self.sentence = reason, sentence
