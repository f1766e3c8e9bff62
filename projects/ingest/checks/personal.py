"""Hints that a text names a person: what looks like an address, a number of a phone, an account or
a card. Found values are never written down, only the rows that hold them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from projects.ingest.checks import check, registry
from projects.ingest.checks.check import Check, Found
from projects.ingest.formats import Plan, Row
from projects.ingest.issues import INFO, Tally

MOST_CHARACTERS = 100_000  # of a row that are looked at

# Every repetition is bounded, so that the time is linear in the length of a text.
_EMAIL_BEFORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,62}\Z")
_EMAIL_AFTER = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2,24}\b")
_NUMBER = re.compile(r"(?<![\w.,/-])(?:\+|\()?\d(?:[ ./()-]{0,2}\d){6,18}(?![\w%]|[.,]\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F:]{6,39}(?![\w:])")
_DIGIT = re.compile(r"\d")


def has_email(text: str) -> bool:
    at = text.find("@")
    while at >= 0:
        if _EMAIL_BEFORE.search(text[max(0, at - 63) : at]) and _EMAIL_AFTER.match(text, at + 1):
            return True
        at = text.find("@", at + 1)
    return False


def has_phone(text: str) -> bool:
    """An international number (+ or 00), one with the 0 of its area, or three groups as in North
    America."""
    return any(_is_phone(one.group()) for one in _NUMBER.finditer(text))


def _is_phone(written: str) -> bool:
    digits = "".join(_DIGIT.findall(written))
    if re.fullmatch(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}", written):  # a date
        return False
    if written.startswith("+") or digits.startswith("00"):
        return 8 <= len(digits.lstrip("0")) <= 15
    if digits.startswith("0"):
        return 9 <= len(digits) <= 12
    return bool(re.fullmatch(r"\(?[2-9]\d{2}\)?[ .-]{1,2}\d{3}[ .-]\d{4}", written))


def has_card(text: str) -> bool:
    for one in _NUMBER.finditer(text):
        digits = "".join(_DIGIT.findall(one.group()))
        if 13 <= len(digits) <= 19 and digits[0] in "23456" and _luhn(digits):
            return True
    return False


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0 and len(set(digits)) > 1


def has_iban(text: str) -> bool:
    """ISO 13616: the remainder by 97 is 1. What follows an IBAN may look like its end."""
    for one in _IBAN.finditer(text):
        plain = one.group().replace(" ", "")
        for length in range(15, len(plain) + 1):
            turned = plain[4:length] + plain[:4]
            if int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1:
                return True
    return False


def has_ip(text: str) -> bool:
    written = [one.group() for one in _IPV4.finditer(text)]
    written += [one.group() for one in _IPV6.finditer(text) if one.group().count(":") > 1]
    for one in written:
        try:
            address = ipaddress.ip_address(one)
        except ValueError:
            continue
        if not address.is_unspecified and not address.is_loopback:
            return True
    return False


KINDS: dict[str, tuple[str, Callable[[str], bool], str]] = {
    "email_address": ("@", has_email, "an e-mail address"),
    "phone_number": ("0-9", has_phone, "a phone number"),
    "bank_account": ("0-9", has_iban, "an IBAN whose checksum is right"),
    "card_number": ("0-9", has_card, "the number of a payment card whose checksum is right"),
    "ip_address": ("0-9", has_ip, "an IP address"),
}


@registry.register
class Personal(Check):
    key = "personal"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        code: (
            INFO,
            f"Rows that hold what looks like {what}. If these are real people's, you may need "
            "their consent: replace it in the source, or leave the rows out.",
        )
        for code, (_, _, what) in KINDS.items()
    }

    def __init__(
        self, plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]
    ) -> None:
        super().__init__(plan, columns, measures)
        self.tally = Tally()

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        words = any(one["role"] == "feature" and one["type"] == "category" for one in columns)
        return words or check.input_of(columns) == "text"

    def meet(self, row_id: int, row: Row) -> None:
        assert isinstance(row.input, str)
        text = row.input[:MOST_CHARACTERS]
        for code in kinds_in(text):
            self.tally.row(code, row_id)

    def finish(self, found: Found) -> None:
        found.tally.take(self.tally)


def kinds_in(text: str) -> list[str]:
    """The codes of what a text seems to hold."""
    here = ["email_address"] if "@" in text and has_email(text) else []
    if _DIGIT.search(text) or "::" in text:
        here += [code for code, (needs, has, _) in KINDS.items() if needs != "@" and has(text)]
    return here
