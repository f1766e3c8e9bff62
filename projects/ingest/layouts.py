"""What the objects of a file are, beside a plain row: chats, calls of a model, instructions.

A layout turns an object into rows (mostly one) whose keys are columns. What it does not use stays
beside it, under its own name. Which one a file has is guessed from its first objects, and can be
corrected.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from projects.ingest import chat_messages
from projects.ingest.formats import BadRow

JSON = dict[str, Any]

CHAT_NAMES = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")


class Layout:
    """Plain objects: every key is a column."""

    key = "plain"
    label = "rows as they stand"

    def fits(self, objects: Sequence[JSON]) -> bool:
        """Whether the first objects of a file are laid out so."""
        return True

    def rows(self, one: JSON) -> Iterator[JSON]:
        """Raises BadRow for what is not laid out so."""
        yield one


class Chats(Layout):
    """OpenAI's fine-tuning files, ShareGPT, Bedrock's and Nova's conversations, LLaMA-Factory's:
    a list of messages, maybe with a system's words and with a preferred and a rejected answer."""

    key = "chats"
    label = "chats"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(_chat_name(one) for one in objects) and not OnlyAsked().fits(objects)

    def rows(self, one: JSON) -> Iterator[JSON]:
        name = _chat_name(one)
        if not name:
            raise BadRow(f"has no list of messages under any of {', '.join(CHAT_NAMES[:3])}")
        said = chat_messages.messages(one[name], system=one.get("system"))
        rest = {key: one[key] for key in one if key not in (name, "system")}
        if _is_answer(one.get("chosen")) and _is_answer(one.get("rejected")):
            rest["rejected"] = chat_messages.written([*said, *_answer(rest.pop("rejected"))])
            said = [*said, *_answer(rest.pop("chosen"))]
        yield {"messages": chat_messages.written(said)} | rest


class OnlyAsked(Layout):
    """Chats of one question each, whose answer stands elsewhere or nowhere."""

    key = "questions"
    label = "chats that are a question only"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(_asked(one) is not None for one in objects)

    def rows(self, one: JSON) -> Iterator[JSON]:
        name = _chat_name(one)
        if not name:
            raise BadRow("has no list of messages")
        said = chat_messages.messages(one[name], system=one.get("system"))
        if [each["role"] for each in said if each["role"] != "system"] != ["user"]:
            raise BadRow("is no chat of a single question")
        prompt = "\n\n".join(each["content"] for each in said if each["content"])
        yield {"prompt": prompt} | {key: one[key] for key in one if key not in (name, "system")}


class Calls(Layout):
    """Calls of a chat model with their answers, as OpenAI's stored completions are: `messages`
    beside `choices`, or both within `request` and `response`; of several answers the first."""

    key = "calls"
    label = "calls of a model, with their answers (OpenAI)"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(_choices(one)[0] is not None for one in objects)

    def rows(self, one: JSON) -> Iterator[JSON]:
        choices, answered_by = _choices(one)
        if choices is None:
            raise BadRow("has no list of choices")
        asked, asked_by = _request(one)
        if asked is None:
            raise BadRow("holds an answer, and not what was asked: there are no messages")
        first = choices[0] if isinstance(choices[0], dict) else {}
        said = [*asked, _of_choice(first)]
        rest = {key: one[key] for key in one if key not in (asked_by, answered_by)}
        yield {"messages": chat_messages.written(said)} | _about(one, asked_by, answered_by) | rest


class BedrockLog(Layout):
    """Amazon Bedrock's model invocation logs."""

    key = "bedrock_log"
    label = "Bedrock's model invocation log"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(_is_invocation(one) for one in objects)

    def rows(self, one: JSON) -> Iterator[JSON]:
        if not _is_invocation(one):
            raise BadRow("is no record of an invocation: it has no input and output")
        asked = _body(one["input"], "input")
        answered = _body(one.get("output") or {}, "output")
        said = _asked_of_bedrock(asked)
        said.append({"role": "assistant", "content": _answer_of_bedrock(answered)})
        tokens = {
            f"{side}_tokens": one[side].get(f"{side}TokenCount")
            for side in ("input", "output")
            if isinstance(one.get(side), dict)
        }
        rest = {key: one[key] for key in one if key not in ("input", "output")}
        yield {"messages": chat_messages.written(said)} | tokens | rest


class BedrockAnswers(Layout):
    """Bedrock's prompts with the answers of models: `modelResponses`."""

    key = "model_responses"
    label = "prompts with the answers of models (Bedrock)"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(
            isinstance(one.get("prompt"), str) and _is_objects(one.get("modelResponses"))
            for one in objects
        )

    def rows(self, one: JSON) -> Iterator[JSON]:
        if not self.fits([one]):
            raise BadRow("has no prompt with a list of modelResponses")
        rest = {key: one[key] for key in one if key not in ("prompt", "modelResponses")}
        for answer in one["modelResponses"]:
            said = {"prompt": one["prompt"], "completion": answer.get("response")}
            yield said | {"model": answer.get("modelIdentifier")} | rest


class Alpaca(Layout):
    """Instructions as Alpaca has them: an instruction, maybe its input, and the output."""

    key = "alpaca"
    label = "instructions (Alpaca)"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(
            isinstance(one.get("instruction"), str)
            and isinstance(one.get("output"), str)
            and not (one.get("history") or one.get("system"))
            for one in objects
        )

    def rows(self, one: JSON) -> Iterator[JSON]:
        if not isinstance(one.get("instruction"), str):
            raise BadRow("has no instruction")
        if one.get("history") or one.get("system"):
            raise BadRow("has a history or a system's words, and the objects before it have none")
        used = ("instruction", "input", "output", "history", "system")
        rest = {key: one[key] for key in one if key not in used}
        yield {
            "prompt": _instructed(one["instruction"], one.get("input")),
            "completion": one.get("output"),
        } | rest


class AlpacaChats(Layout):
    """The same, with what was said before."""

    key = "alpaca_chats"
    label = "instructions with a history (Alpaca)"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(
            isinstance(one.get("instruction"), str) and isinstance(one.get("output"), str)
            for one in objects
        )

    def rows(self, one: JSON) -> Iterator[JSON]:
        if not self.fits([one]):
            raise BadRow("has no instruction with an output")
        said: list[JSON] = []
        for pair in one.get("history") or []:
            if not isinstance(pair, list) or len(pair) != 2:
                raise BadRow("has a history that is no list of questions with answers")
            said.append({"role": "user", "content": chat_messages.content(pair[0])})
            said.append({"role": "assistant", "content": chat_messages.content(pair[1])})
        asked = _instructed(one["instruction"], one.get("input"))
        said.append({"role": "user", "content": asked})
        said.append({"role": "assistant", "content": one["output"]})
        used = ("instruction", "input", "output", "history", "system")
        rest = {key: one[key] for key in one if key not in used}
        chat = chat_messages.messages(said, system=one.get("system"))
        yield {"messages": chat_messages.written(chat)} | rest


class Instances(Layout):
    """Self-instruct's tasks: an instruction with instances, each an input and an output. Every
    instance becomes a row."""

    key = "instances"
    label = "instructions with instances (self-instruct)"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(
            isinstance(one.get("instruction"), str) and _is_objects(one.get("instances"))
            for one in objects
        )

    def rows(self, one: JSON) -> Iterator[JSON]:
        if not self.fits([one]):
            raise BadRow("has no instruction with a list of instances")
        rest = {key: one[key] for key in one if key not in ("instruction", "instances")}
        for each in one["instances"]:
            yield {
                "prompt": _instructed(one["instruction"], each.get("input")),
                "completion": each.get("output"),
            } | rest


class Preferences(Layout):
    """Pairs of whole dialogues, of which one was chosen: as texts (`\\n\\nHuman: ...`) or as lists
    of messages. The chosen one is learned from; the other one is kept."""

    key = "preferences"
    label = "chosen and rejected dialogues"

    def fits(self, objects: Sequence[JSON]) -> bool:
        return all(
            _dialogue(one.get("chosen")) is not None and _dialogue(one.get("rejected")) is not None
            for one in objects
        )

    def rows(self, one: JSON) -> Iterator[JSON]:
        chosen, rejected = _dialogue(one.get("chosen")), _dialogue(one.get("rejected"))
        if chosen is None or rejected is None:
            raise BadRow("has no chosen and rejected dialogue")
        if chat_messages.is_chat(one.get("prompt")):
            asked = chat_messages.messages(one["prompt"])
            if chosen[: len(asked)] != asked:
                chosen, rejected = asked + chosen, asked + rejected
        said = {
            "messages": chat_messages.written(chosen),
            "rejected": chat_messages.written(rejected),
        }
        yield said | {key: one[key] for key in one if key not in ("chosen", "rejected")}


#: By key, the most particular first: the first that fits a file's objects is guessed.
LAYOUTS: dict[str, Layout] = {
    one.key: one
    for one in (
        *(BedrockLog(), Calls(), BedrockAnswers(), OnlyAsked(), Chats(), Preferences()),
        *(Instances(), Alpaca(), AlpacaChats(), Layout()),
    )
}
PLAIN = Layout.key


def guess(objects: Sequence[JSON]) -> str:
    """The layout of a file's first objects; plain where there are none."""
    return next((key for key, one in LAYOUTS.items() if objects and one.fits(objects)), PLAIN)


def _chat_name(one: JSON) -> str:
    return next((name for name in CHAT_NAMES if chat_messages.is_chat(one.get(name))), "")


def _asked(one: JSON) -> str | None:
    """The name of its messages, where they are one question, maybe after a system's words."""
    name = _chat_name(one)
    if not name or "chosen" in one:
        return None
    roles = [str(each.get("role", each.get("from"))).lower() for each in one[name]]
    heard = [chat_messages.ROLES.get(role) for role in roles]
    return name if [role for role in heard if role != "system"] == ["user"] else None


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict | str) and bool(value)


def _answer(value: Any) -> list[JSON]:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return [chat_messages.message(value)]


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _instructed(instruction: str, given: Any) -> str:
    said = chat_messages.content(given)
    return f"{instruction}\n{said}" if said.strip() else instruction


def _within(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


_ANSWERS = (("choices",), ("response", "choices"), ("response", "body", "choices"))
_REQUESTS: tuple[tuple[str, ...], ...] = (
    ("messages",),
    ("request", "messages"),
    ("request", "body", "messages"),
)
_REQUESTS = (*_REQUESTS, ("body", "messages"), ("input", "messages"), ("input",))
_PROMPTS = (("prompt",), ("request", "prompt"), ("request", "body", "prompt"))


def _choices(one: JSON) -> tuple[list[Any] | None, str]:
    """The answers of a call, and under which key they stand."""
    for names in _ANSWERS:
        found = _within(one, *names)
        if _is_objects(found) and ("message" in found[0] or "text" in found[0]):
            return found, names[0]
    return None, ""


def _request(one: JSON) -> tuple[list[JSON] | None, str]:
    for names in _REQUESTS:
        found = _within(one, *names)
        if chat_messages.is_chat(found):
            return chat_messages.messages(found), names[0]
    for names in _PROMPTS:
        found = _within(one, *names)
        if isinstance(found, str):
            return [{"role": "user", "content": found}], names[0]
    return None, ""


def _of_choice(choice: JSON) -> JSON:
    if isinstance(choice.get("message"), dict):
        return chat_messages.message({"role": "assistant"} | choice["message"])
    return {"role": "assistant", "content": chat_messages.content(choice.get("text"))}


def _about(one: JSON, *sides: str) -> JSON:
    """What a request and a response say of themselves, beside what was asked and answered."""
    told: JSON = {}
    for side in sides:
        body = one.get(side)
        body = body.get("body", body) if isinstance(body, dict) else {}
        for name in ("model", "id", "usage", "metadata"):
            if isinstance(body, dict) and name in body:
                told[name] = body[name]
    return told


def _is_invocation(one: JSON) -> bool:
    asked = one.get("input")
    if one.get("schemaType") == "ModelInvocationLog":
        return isinstance(asked, dict)
    return isinstance(asked, dict) and "inputBodyJson" in asked and "output" in one


def _body(side: Any, word: str) -> JSON:
    body = _within(side, f"{word}BodyJson")
    if isinstance(body, dict):
        return body
    if isinstance(body, list):  # of an answer that came as a stream: its events
        return {"events": body}
    if place := _within(side, f"{word}BodyS3Path"):
        raise BadRow(f"has its {word} elsewhere, in {str(place)[:100]}")
    raise BadRow(f"has no {word}BodyJson")


def _asked_of_bedrock(body: JSON) -> list[JSON]:
    if chat_messages.is_chat(body.get("messages")):
        return chat_messages.messages(body["messages"], system=body.get("system"))
    for name in ("prompt", "inputText"):
        if isinstance(body.get(name), str):
            said = chat_messages.turns(f"\n\n{body[name].strip()}")
            if said is None:
                return [{"role": "user", "content": body[name]}]
            return said if said[-1]["content"] else said[:-1]  # where the answer was to stand
    raise BadRow("has neither messages nor a prompt in its input")


#: Where the models of Bedrock write their answers.
_BEDROCK_ANSWERS = (
    ("output", "message", "content"),  # Converse, Nova
    ("content",),  # Claude
    ("generation",),  # Llama
    ("completion",),  # Claude 2
    ("outputs", 0, "text"),  # Mistral
    ("results", 0, "outputText"),  # Titan
    ("generations", 0, "text"),  # Cohere
    ("choices", 0, "message", "content"),  # OpenAI, DeepSeek
    ("text",),
)


def _answer_of_bedrock(body: JSON) -> str:
    if "events" in body:
        return _streamed(body["events"])
    for path in _BEDROCK_ANSWERS:
        found: Any = body
        for step in path:
            if isinstance(step, int):
                found = found[step] if isinstance(found, list) and len(found) > step else None
            else:
                found = _within(found, step)
        if found is not None:
            said = chat_messages.content(found)
            # A turn that Claude 2 was asked to end begins with a blank.
            return said.strip() if path == ("completion",) else said
    raise BadRow("has no answer in its output")


def _streamed(events: list[Any]) -> str:
    """The text of an answer's pieces (Converse, Claude, Llama)."""
    pieces = []
    for one in events:
        delta = _within(one, "contentBlockDelta", "delta", "text")
        delta = delta or _within(one, "delta", "text") or _within(one, "generation")
        if isinstance(delta, str):
            pieces.append(delta)
    if not pieces:
        raise BadRow("has no text among the events of its output")
    return "".join(pieces)


def _dialogue(value: Any) -> list[JSON] | None:
    if isinstance(value, str):
        return chat_messages.turns(value)
    if not chat_messages.is_chat(value):
        return None
    try:
        return chat_messages.messages(value)
    except BadRow:
        return None
