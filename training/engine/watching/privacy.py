"""What is kept of rows, once they have been described and counted.

    raw         all of it
    redacted    texts without what looks like a person's details; no pictures and sounds, in which
                nothing is found by patterns
    hashed      a keyed digest of the input, by which two are the same or not
    described   what describes it, and its vector

Patterns find what is written as it usually is: a name or an address in plain words stays. Numbers
of a table stay, in columns and tags texts are redacted. Ids and names of columns stay as they are.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

RAW, REDACTED, HASHED, DESCRIBED = "raw", "redacted", "hashed", "described"
FEW_DIGITS = 7  # of a number that may be somebody's
IBAN_DIGITS = 8
CARD_DIGITS = range(13, 20)

# Every repetition is bounded, so that no text takes longer than its length asks for.
LINK = re.compile(r"\b(https?://|www\.)[^\s<>\"']{1,2000}", re.IGNORECASE)
MAIL = re.compile(r"[\w.%+\-]{1,64}@[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}")
IBAN = re.compile(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b", re.IGNORECASE)
DIGITS = re.compile(r"(?<!\w)\+?\(?\d(?:[ ().\-/]{0,3}\d){6,24}(?!\w)")
INSIDE = re.compile(r"\d{7,}")  # e.g. after letters
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def redacted_words(text: str) -> str:
    """Likewise, with as many blanks as before, so that tags still belong to their words: what was
    written with blanks in it is told once for each of its parts."""

    def each(pattern: re.Pattern[str], change: Callable[[re.Match[str]], str]) -> str:
        def changed(found: re.Match[str]) -> str:
            said, parts = change(found), found.group().count(" ") + 1
            return found.group() if said == found.group() else " ".join([said] * parts)

        return pattern.sub(changed, text)

    text = each(IBAN, _iban)
    text = each(DIGITS, _digits)
    return redacted(text)


def redacted(text: str) -> str:
    """Without links' secrets, e-mail addresses, IBANs, cards, phones and long numbers."""
    if "/" in text or "www." in text.lower():
        text = LINK.sub(_link, text)
    if "@" in text:
        text = MAIL.sub("[e-mail]", text)
    text = IBAN.sub(_iban, text)
    text = DIGITS.sub(_digits, text)
    return INSIDE.sub("[number]", text)


def _link(found: re.Match[str]) -> str:
    """Its place, without who asks, what for, and keys in it."""
    whole = found.group()
    scheme, mark, rest = whole.partition("://")
    if not mark:
        scheme, rest = "", whole
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    host = host.rpartition("@")[2]
    kept = "/".join("[token]" if _is_token(one) else one for one in path.split("/"))
    told = f"{scheme}{mark}{host}{slash}{kept}"
    return told if len(place) == len(rest) else f"{told}[...]"


def _is_token(part: str) -> bool:
    return len(part) >= 20 and any(map(str.isdigit, part))


def _iban(found: re.Match[str]) -> str:
    whole = found.group()
    return "[IBAN]" if sum(map(str.isdigit, whole)) >= IBAN_DIGITS else whole


def _digits(found: re.Match[str]) -> str:
    whole = found.group()
    if DATE.fullmatch(whole):
        return whole
    digits = [int(one) for one in whole if one.isdigit()]
    if len(digits) in CARD_DIGITS and _is_card(digits):
        return "[card]"
    return "[number]" if whole.isdigit() else "[phone]"


def _is_card(digits: list[int]) -> bool:
    """Luhn's check, which cards pass."""
    odd = sum(digits[-1::-2])
    return (odd + sum(sum(divmod(2 * one, 10)) for one in digits[-2::-2])) % 10 == 0


def each(value: Any, change: Callable[[str], str]) -> Any:
    """Every text inside of it changed; names stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: each(one, change) for name, one in value.items()}
    return value


def digest(content: str | bytes, salt: str) -> str:
    """Of an input: equal for equal ones of one monitor, and no way back without its key."""
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, key=salt.encode()[:64], digest_size=16).hexdigest()
