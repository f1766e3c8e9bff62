"""What Bedrock's Converse is asked: made without boto3, and unsent."""

import json
from typing import Any

from training.answering.endpoint import Endpoint
from training.answering.faults import Fault
from training.answering.questions import Prompt, Question
from training.answering.replies import Reply
from training.answering.requests import Body


class BedrockRequests:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    @property
    def path(self) -> str:
        return "converse"

    def body(self, prompt: Prompt, question: Question) -> Body:
        end = self.endpoint
        structured = question.schema is not None and end.offer("structured")
        words = question.words(prompt, structured=structured)
        limits: dict[str, Any] = {"maxTokens": question.tokens(end.max_tokens)}
        heat = question.temperature if question.temperature is not None else end.temperature
        if heat is not None and not end.offer("no_temperature"):
            limits["temperature"] = heat
        if question.stop:
            limits["stopSequences"] = list(question.stop)
        asked: Body = {
            "modelId": end.model,
            "messages": [{"role": "user", "content": [{"text": words}]}],
            "inferenceConfig": limits,
        }
        if prompt.system:
            asked["system"] = [{"text": prompt.system}]
        if structured:
            schema = {"name": "answer", "schema": json.dumps(question.schema)}
            asked["outputConfig"] = {
                "textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}
            }
        return asked

    can_score = False  # Converse tells no probabilities

    def score_body(self, prompt: Prompt, question: Question, label: str) -> Body:
        raise Fault("bad_request", "Converse does not score continuations.")

    def score(self, body: Body, label: str, reply: Reply) -> float:
        raise Fault("bad_request", "Converse does not score continuations.")

    def texts(self, body: Body) -> list[str]:
        said = [part["text"] for message in body["messages"] for part in message["content"]]
        said += [part["text"] for part in body.get("system", ())]
        if "outputConfig" in body:
            said.append(json.dumps(body["outputConfig"]))
        return said

    def most_output(self, body: Body) -> int:
        return int(body["inferenceConfig"]["maxTokens"])
