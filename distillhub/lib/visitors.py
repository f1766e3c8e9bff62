"""Where a request comes from."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def address(request: HttpRequest) -> str:
    """The network address of who asks; empty where it is not known.

    Behind a proxy (BEHIND_PROXY) it is what the outermost of our own proxies (PROXY_COUNT) has
    written into X-Forwarded-For: what stands before that a visitor can make up. Without a proxy
    the header is not looked at.
    """
    if settings.BEHIND_PROXY:
        hops = request.headers.get("X-Forwarded-For", "").split(",")
        if len(hops) >= settings.PROXY_COUNT and (found := _parsed(hops[-settings.PROXY_COUNT])):
            return found
    return _parsed(request.META.get("REMOTE_ADDR", ""))


def network(told: str) -> str:
    """What counts as one place: an address, and of IPv6 the 64 bits that a household has."""
    if not told:
        return ""
    found = ipaddress.ip_address(told)
    if found.version == 4:
        return told
    return str(ipaddress.ip_network((found, 64), strict=False))


def _parsed(told: str) -> str:
    told = told.strip()
    if told.startswith("["):  # [::1]:8000
        told = told[1:].partition("]")[0]
    elif told.count(":") == 1:  # 192.0.2.1:8000
        told = told.partition(":")[0]
    try:
        found = ipaddress.ip_address(told.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)
