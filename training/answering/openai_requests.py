"""What services that speak as OpenAI's are asked: made without their library, and unsent."""

import json

from training.answering.endpoint import OPENAI_CHAT, Endpoint
from training.answering.faults import Fault
from training.answering.questions import Prompt, Question
from training.answering.replies import Reply
from training.answering.requests import Body

TOP = 20  # likely tokens that are asked for


class OpenAIRequests:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.is_chat = endpoint.api == OPENAI_CHAT

    @property
    def path(self) -> str:
        return "chat/completions" if self.is_chat else "completions"

    def body(self, prompt: Prompt, question: Question) -> Body:
        """The exact request."""
        end = self.endpoint
        logprobs = question.wants_logprobs and end.offer("logprobs")
        # Where probabilities are to be had the label is asked for in plain words: its tokens come
        # first then, and are not bent by a grammar.
        structured = question.schema is not None and end.offer("structured") and not logprobs
        words = question.words(prompt, structured=structured)
        asked: Body = {"model": end.model}
        limit = "max_completion_tokens" if end.offer("max_completion_tokens") else "max_tokens"
        if self.is_chat:
            asked["messages"] = [
                *([{"role": "system", "content": prompt.system}] if prompt.system else []),
                {"role": "user", "content": words},
            ]
            if logprobs:
                asked |= {"logprobs": True, "top_logprobs": TOP}
        else:
            asked["prompt"] = "\n\n".join(part for part in (prompt.system, words) if part)
            limit = "max_tokens"
            if logprobs:
                asked["logprobs"] = 5  # the most that completions of old took
        thinks = end.offer("max_completion_tokens")
        asked[limit] = end.max_tokens if thinks else question.tokens(end.max_tokens)
        heat = question.temperature if question.temperature is not None else end.temperature
        if heat is not None and not end.offer("no_temperature"):
            asked["temperature"] = heat
        if question.stop:
            asked["stop"] = list(question.stop)
        if structured:
            asked["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": question.schema},
            }
        return asked

    @property
    def can_score(self) -> bool:
        return not self.is_chat and self.endpoint.offer("echo")

    def score_body(self, prompt: Prompt, question: Question, label: str) -> Body:
        """A request that has a label read as the prompt's continuation."""
        words = question.words(prompt, structured=False)
        begun = "\n\n".join(part for part in (prompt.system, words) if part)
        return {
            "model": self.endpoint.model,
            "prompt": f"{begun}\n{label}\n",
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }

    def score(self, body: Body, label: str, reply: Reply) -> float:
        """The logarithm of the label's probability. Raises Fault."""
        begin = len(body["prompt"]) - len(label) - 1
        end = len(body["prompt"])
        steps = [one for one in reply.steps if one.offset is not None]
        over = [
            one.logprob
            for one in steps
            if one.offset is not None and one.offset < end and one.offset + len(one.token) > begin
        ]
        if not over:
            raise Fault("malformed", "The service read the prompt without telling its tokens.")
        return sum(over)

    def most_output(self, body: Body) -> int:
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        return int(limit or 0)

    def texts(self, body: Body) -> list[str]:
        """All that a request makes the service read."""
        said = [message["content"] for message in body.get("messages", ())]
        said += [body["prompt"]] if "prompt" in body else []
        if "response_format" in body:
            said.append(json.dumps(body["response_format"]))
        return said
