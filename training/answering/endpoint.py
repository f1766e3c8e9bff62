"""What the source of an `api` version says: who is asked, and within which limits.

{"kind": "api", "api": "openai-chat", "base_url": "https://...", "model": "...", ...}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Self

from distillhub.lib import outgoing

MILLION = Decimal(1_000_000)

OPENAI_CHAT, OPENAI_COMPLETIONS, BEDROCK = "openai-chat", "openai-completions", "bedrock"
APIS = {
    OPENAI_CHAT: "OpenAI-compatible chat",
    OPENAI_COMPLETIONS: "OpenAI-compatible completions",
    BEDROCK: "Amazon Bedrock",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    api: str
    base_url: str
    model: str
    region: str = ""  # of Bedrock
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "Authorization"
    input_price: Decimal = Decimal(0)  # per million tokens, in the currency of the budget
    output_price: Decimal = Decimal(0)
    requests_per_minute: int = 0  # 0: as many as the service takes
    concurrency: int = 4
    timeout: float = 60.0  # seconds for a whole answer
    temperature: float | None = None  # none: 0 for labels, the service's own for texts
    max_tokens: int = 1024
    offers: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> Self:
        known = {one.name for one in fields(cls)}
        said = {name: value for name, value in source.items() if name in known}
        for name in ("input_price", "output_price"):
            said[name] = Decimal(str(said.get(name, 0)))
        return cls(**said)

    @property
    def origin(self) -> str:
        """Where its key is sent."""
        return outgoing.origin(self.base_url)

    def cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        return (input_tokens * self.input_price + output_tokens * self.output_price) / MILLION

    def offer(self, name: str) -> bool:
        """Whether the service is known to take it."""
        return bool(self.offers.get(name))


def default_base_url(api: str, region: str) -> str:
    return f"https://bedrock-runtime.{region}.amazonaws.com" if api == BEDROCK else ""
