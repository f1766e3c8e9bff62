"""Where we send requests that a person's words lead to: API teachers, webhooks.

A person of a project must not reach, through us, what only this machine reaches: private,
loopback, link-local and reserved addresses are refused, in whatever spelling, when an address is
saved and again when a connection is made (outgoing_http.py). DISTILLHUB_OUTGOING_ALLOW names hosts
and networks that may be asked nevertheless, also without encryption.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from distillhub.lib.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PATIENCE = 2.0  # seconds to wait for a name's addresses before it is saved
LONGEST = 500  # characters of an address
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
#: Parsed by some as a number of an address: `127.1`, `0x7f000001`, `017700000001`.
NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.ASCII)
LOCAL = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa")
EMBEDDING = ipaddress.ip_network("64:ff9b::/96")  # NAT64: the last 32 bits are an IPv4 address


class Refused(Invalid):
    """Nothing is sent to this address."""

    code = "address_refused"


def origin(url: str) -> str:
    """`https://host:443` of an address that `check` let pass: what a stored key belongs to."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = (parts.hostname or "").rstrip(".")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def check(url: str, *, query: bool = False) -> None:
    """Refuse what nothing may be sent to. Asks for the addresses of a name, for a moment: whether
    it has any is found out when it is asked. `query`: it may have a ?, as webhooks do. Raises
    Refused."""
    parts = _parts(url, query=query)
    host = _host(parts)
    literal = _literal(host)
    listed = is_listed(host)
    addresses = [literal] if literal is not None else _addresses(host, parts.port or 443)
    if not listed:
        if literal is None and is_local(host):
            raise Refused(f"{host} is a name inside this machine's network. {_HOW}")
        check_addresses(host, addresses)
    trusted = listed or (bool(addresses) and all(_is_allowed(one) for one in addresses))
    if parts.scheme != "https" and not trusted:
        raise Refused(f"The address has to begin with https://, so that nobody reads along. {_HOW}")


def check_addresses(host: str, addresses: Iterable[Address]) -> None:
    """Raises Refused."""
    if is_listed(host):
        return
    for address in addresses:
        if not _is_allowed(address) and not _is_public(address):
            where = "" if host == str(address) else f" is at {address}, which"
            raise Refused(f"{host}{where} is no public address. {_HOW}")


def is_listed(host: str) -> bool:
    return host.lower().rstrip(".") in {
        one.lower().rstrip(".") for one in settings.DISTILLHUB_OUTGOING_ALLOW if "/" not in one
    }


def is_local(host: str) -> bool:
    name = host.lower().rstrip(".")
    return "." not in name or any(name == one or name.endswith(f".{one}") for one in LOCAL)


_HOW = "An administrator can allow it: DISTILLHUB_OUTGOING_ALLOW."


def _parts(url: str, *, query: bool) -> SplitResult:
    if len(url) > LONGEST:
        raise Refused(f"An address has at most {LONGEST} characters.")
    if not url.isascii() or not url.isprintable() or re.search(r"[\s\\]", url):
        raise Refused("An address holds no blanks, backslashes or letters outside ASCII.")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Refused("This is no address.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refused("An address looks like https://api.example.com/v1.")
    if parts.username is not None or parts.password is not None:
        raise Refused("An address holds no name and no password: a key has a field of its own.")
    if parts.fragment or (parts.query and not query):
        raise Refused("The address of an API has no ? and no #.")
    return parts


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower().rstrip(".")
    if _literal(host) is not None:
        return host
    labels = host.split(".")
    if not all(LABEL.fullmatch(one) for one in labels) or NUMERIC.fullmatch(labels[-1]):
        raise Refused(
            f"{host[:100]!r} is no name of a host, and no address as it is usually written."
        )
    return host


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _addresses(host: str, port: int) -> list[Address]:
    """Of a name, in the time that a page may take; none when that was too short."""
    found: list[Address] = []

    def look() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(of_socket(info[4]) for info in infos)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(PATIENCE)
    return list(found)


def of_socket(name: tuple[str | int, ...] | tuple[int, bytes]) -> Address:
    """The address in what sockets call one, without the zone of a link-local one."""
    return ipaddress.ip_address(str(name[0]).partition("%")[0])


def _is_allowed(address: Address) -> bool:
    """Whether an administrator's list has it."""
    inner = getattr(address, "ipv4_mapped", None) or address
    return any(
        inner in ipaddress.ip_network(one)
        for one in settings.DISTILLHUB_OUTGOING_ALLOW
        if "/" in one
    ) or is_listed(str(inner))


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in EMBEDDING:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(one is not None and not _is_public(one) for one in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved
