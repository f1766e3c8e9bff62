"""Requests that a person's words lead to reach public addresses, and nothing of ours."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.conf import LazySettings

from distillhub.lib import env, outgoing, outgoing_http
from tests.training.api_server import Service, serving

INSIDE = [
    "https://127.0.0.1/v1",
    "https://127.0.0.1./v1",
    "https://127.1/v1",
    "https://127.0.1/v1",
    "https://2130706433/v1",
    "https://0x7f000001/v1",
    "https://0x7f.0.0.1/v1",
    "https://017700000001/v1",
    "https://0177.0.0.1/v1",
    "https://0/v1",
    "https://0.0.0.0/v1",
    "https://[::1]/v1",
    "https://[::]/v1",
    "https://[::ffff:127.0.0.1]/v1",
    "https://[::ffff:7f00:1]/v1",
    "https://[64:ff9b::7f00:1]/v1",
    "https://[2002:7f00:1::]/v1",
    "https://[fe80::1]/v1",
    "https://[fe80::1%25eth0]/v1",
    "https://[fc00::1]/v1",
    "https://[ff02::1]/v1",
    "https://10.0.0.1/v1",
    "https://172.16.0.1/v1",
    "https://192.168.1.1/v1",
    "https://100.64.0.1/v1",
    "https://169.254.169.254/latest/meta-data",
    "https://224.0.0.1/v1",
    "https://255.255.255.255/v1",
    "https://192.0.2.1/v1",
    "https://localhost/v1",
    "https://LOCALHOST./v1",
    "https://db.localhost/v1",
    "https://printer.local/v1",
    "https://metadata.google.internal/v1",
    "https://redis/v1",
    "https://①②⑦.⓪.⓪.①/v1",
    "https://example.com@127.0.0.1/v1",
    "https://127.0.0.1\\@example.com/v1",
    "https://exa mple.com/v1",
    "https://example.com:99999/v1",
    "https://example.com/v1?x=1",
    "https://example.com/v1#x",
    "https://-example.com/v1",
    "https://exam%70le.com/v1",
    "ftp://example.com/v1",
    "file:///etc/passwd",
    "//example.com/v1",
    "https://",
    "",
    "https://example.com/" + "x" * 600,
]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as one:
        yield one


@pytest.fixture(autouse=True)
def public_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of the examples have a public address; what this machine knows stays."""
    ask = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        known = {"api.example.com": "93.184.216.34", "rebound.example.com": "127.0.0.1"}
        if host in known:
            address = (known[host], port)
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]
        return ask(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def sent(url: str, **limits: Any) -> httpx2.Response:
    with outgoing_http.client(**{"seconds": 5.0} | limits) as client:
        return client.post(f"{url}/v1/chat/completions", json={"messages": [{"content": "hello"}]})


@pytest.mark.parametrize("url", INSIDE)
def test_an_address_inside_is_refused_when_it_is_saved(url: str) -> None:
    with pytest.raises(outgoing.Refused):
        outgoing.check(url)


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v1", "https://1.1.1.1/v1", "https://[2606:4700:4700::1111]/"]
)
def test_a_public_address_is_fine(url: str) -> None:
    outgoing.check(url)


def test_a_public_address_without_encryption_would_tell_everybody_the_key() -> None:
    with pytest.raises(outgoing.Refused, match="https://"):
        outgoing.check("http://api.example.com/v1")


def test_a_name_that_leads_inside_is_refused_when_it_is_saved() -> None:
    with pytest.raises(outgoing.Refused, match=r"rebound\.example\.com is at 127\.0\.0\.1"):
        outgoing.check("https://rebound.example.com/v1")


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("10.0.0.0/8", "http://10.1.2.3:11434/v1"),
        ("ollama.lan", "http://ollama.lan:11434/v1"),
        ("localhost", "http://LocalHost:11434/v1"),
        ("127.0.0.1", "http://127.0.0.1/v1"),
        ("127.0.0.0/8", "http://[::ffff:127.0.0.1]/v1"),
        ("fd00::/8", "http://[fd00::7]/v1"),
    ],
)
def test_an_administrator_allows_hosts_and_networks(
    settings: LazySettings, allowed: str, url: str
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = [allowed]
    outgoing.check(url)
    with pytest.raises(outgoing.Refused):
        outgoing.check("https://192.168.7.7/v1")


def test_a_network_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACES", "ollama.lan, 10.0.0.1/8")
    with pytest.raises(env.BadSetting, match="PLACES"):
        env.places("PLACES")


def test_a_name_that_leads_inside_by_then_is_refused_when_it_is_connected_to(
    service: Service,
) -> None:
    port = service.url.rpartition(":")[2]
    for host in ("rebound.example.com", "localhost", "127.0.0.1"):
        with pytest.raises(outgoing_http.Refused, match="no public address"):
            sent(f"http://{host}:{port}")
    assert service.seen == []


def test_an_allowed_one_is_asked(settings: LazySettings, service: Service) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["rebound.example.com"]
    answer = sent(f"http://rebound.example.com:{service.url.rpartition(':')[2]}")

    assert answer.json()["choices"][0]["message"]["content"] == "HELLO"
    assert service.headers[0]["accept-encoding"] == "identity"


def test_a_redirect_is_not_followed(settings: LazySettings, service: Service) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.1"]
    service.fault = lambda number, body: "redirect"

    assert sent(service.url).status_code == 307
    assert len(service.seen) == 1


def test_no_proxy_of_the_environment_is_asked(
    settings: LazySettings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.1"]
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert sent(service.url).status_code == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("slow", httpx2.ReadTimeout),  # though a byte comes now and then
        ("huge", outgoing_http.TooLong),
        ("compressed", outgoing_http.TooLong),
    ],
)
def test_an_answer_that_never_ends_is_cut(
    settings: LazySettings, service: Service, fault: str, error: type[Exception]
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.1"]
    service.fault = lambda number, body: fault
    with pytest.raises(error):
        sent(service.url, seconds=0.5, most_bytes=3 << 20)


def test_origins_are_compared_as_places() -> None:
    same = ["https://API.example.com/v1", "https://api.example.com.:443/other"]
    assert {outgoing.origin(one) for one in same} == {"https://api.example.com:443"}
    assert outgoing.origin("http://[::1]:8000/v1") == "http://[::1]:8000"
    assert outgoing.of_socket(("fe80::1%eth0", 1, 0, 0)) == ipaddress.ip_address("fe80::1")
