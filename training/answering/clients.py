"""The requests and the client of an endpoint."""

import importlib

from training.answering.bedrock_requests import BedrockRequests
from training.answering.endpoint import BEDROCK, Endpoint
from training.answering.faults import Fault
from training.answering.openai_requests import OpenAIRequests
from training.answering.requests import Client, Requests


def requests_of(endpoint: Endpoint) -> Requests:
    """To look them up, or to tell what they will cost."""
    return BedrockRequests(endpoint) if endpoint.api == BEDROCK else OpenAIRequests(endpoint)


def connect(endpoint: Endpoint, key: str) -> Client:
    """Raises Fault where a library for it is not installed."""
    # Imported here: a process that asks nobody need not hold a hundred modules of clients.
    if endpoint.api == BEDROCK:
        try:
            importlib.import_module("boto3")
        except ImportError:
            sentence = "Bedrock needs the extra bedrock: pip install 'distillhub[bedrock]'."
            raise Fault("unreachable", sentence, fatal=True) from None
        bedrock = importlib.import_module("training.answering.bedrock")
        return bedrock.BedrockClient(endpoint, key)  # type: ignore[no-any-return]
    spoken = importlib.import_module("training.answering.openai_api")
    return spoken.OpenAIClient(endpoint, key)  # type: ignore[no-any-return]
