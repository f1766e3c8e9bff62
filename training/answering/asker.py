"""Asking an API teacher many things: at once, patiently, and never twice.

    prompts --talks--> bodies --cache--> found, or claimed --threads--> service
       answers <--talks-- replies <--written first-- what came of it

Threads do nothing but send and wait. Whoever iterates does the rest, the database too: an answer
is written before it is handed over, so that a job that is begun again finds it, whatever ended it.
What a killed worker had under way (at most `concurrency` requests) is all that can be asked again.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from distillhub.lib import leases, secrets
from distillhub.lib.leases import Fenced, GivenBack, Held
from projects.models import ApiKey, ModelVersion
from training.answering import cache, talks
from training.answering.budget import Budget
from training.answering.clients import connect
from training.answering.endpoint import Endpoint
from training.answering.faults import Fault, Stopped
from training.answering.pacing import Pace
from training.answering.questions import Answer, Prompt, Question, Report, most_input_tokens
from training.answering.replies import Reply
from training.answering.requests import Body, Client
from training.models import TeacherAnswer

log = logging.getLogger(__name__)

MOST_TRIES = 6  # of one request
MOST_REFUSALS = 30  # of one request, to be asked later
MOST_PAID_TRIES = 3  # of one whose answer may have been charged for and lost
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before another try, doubled each time
LONGEST_PATIENCE = 1800.0  # seconds that one request may wait for its turn in all
GIVING_UP = 10  # requests in a row that failed for good: the service is away
AHEAD = 50  # prompts looked up at once
LEAVING = 25.0  # seconds that a process which was asked to leave waits for answers
GLANCE = 0.25  # seconds
ELSEWHERE = 1.0  # seconds between two looks at what another worker asks


@dataclass(slots=True)
class _Task:
    """A prompt on its way."""

    prompt: Prompt
    talk: talks.Talk
    replies: list[Reply | None] = field(default_factory=list)
    left: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    requests: int = 0
    over: bool = False


@dataclass(slots=True)
class _Piece:
    """One request of a prompt."""

    task: _Task
    place: int
    body: Body
    digest: str
    most: Decimal  # that it costs
    row: TeacherAnswer | None = None
    held: Held[TeacherAnswer] | None = None
    look_at: float = 0.0


@dataclass(slots=True)
class _Outcome:
    """What came of sending a request, with its tries."""

    reply: Reply | None = None
    fault: Fault | None = None
    sent: int = 0
    risked: int = 0  # tries that may have been charged for without an answer
    reserved: int = 1  # times that its worst case was set aside
    left: bool = False  # not sent to the end: we have to leave


class Asker:
    """Asks one version of kind `api`, for one purpose.

    `purpose` names the job: what it spent before counts against its `budget` when it goes on.
    `stopping` says when to leave: what is under way is then awaited, and GivenBack raised.
    """

    def __init__(
        self,
        version: ModelVersion,
        question: Question,
        *,
        purpose: str,
        budget: Decimal | None = None,
        stopping: Callable[[], bool] = leases.stopping.is_set,
    ) -> None:
        self.version, self.question, self.purpose = version, question, purpose
        self.endpoint = Endpoint.of(version.source)
        self.budget = Budget(budget, cache.spent(version.model.project_id, purpose))
        self.report = Report()
        self._stopping = stopping
        self._leave = threading.Event()
        self._pace = Pace(self.endpoint.requests_per_minute)
        self._lost = 0  # requests in a row that failed for good
        self._over: Stopped | None = None
        self._waiting: deque[_Piece] = deque()
        self._elsewhere: deque[_Piece] = deque()
        self._flying: dict[Future[_Outcome], _Piece] = {}
        self._ready: deque[Answer] = deque()

    def answers(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """An Answer for each prompt, as they come, in no order. Those that the teacher did not
        answer come with a reason.

        Raises Stopped when no more can be asked (then everything that was answered has come),
        GivenBack when this process has to leave. Raises secrets.Unreadable.
        """
        try:
            client = connect(self.endpoint, key_of(self.version))
        except Fault as fault:
            raise self._stopped(fault.reason, fault.sentence) from None
        before = self.budget.spent
        pool = ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="asking")
        try:
            yield from self._asked(client, pool, iter(prompts))
        finally:
            self._land(client, pool)
            self.report.cost = self.budget.spent - before
            client.close()
        if self._over is not None:
            raise self._over

    # -- the loop --------------------------------------------------------------------------------

    def _asked(
        self, client: Client, pool: ThreadPoolExecutor, prompts: Iterator[Prompt]
    ) -> Iterator[Answer]:
        more = True
        while True:
            if more and self._over is None and len(self._waiting) < self.endpoint.concurrency:
                more = self._take_in(client, prompts)
            self._send(client, pool)
            yield from self._handed_over()
            busy = self._flying or (self._over is None and (self._waiting or self._elsewhere))
            if not busy and (not more or self._over is not None):
                return
            if self._stopping():
                raise GivenBack
            if self._flying:
                done, _ = wait(self._flying, timeout=GLANCE, return_when=FIRST_COMPLETED)
                for future in done:
                    self._landed(client, future)
            elif not self._waiting and self._elsewhere:
                time.sleep(GLANCE)
            yield from self._handed_over()

    def _take_in(self, client: Client, prompts: Iterator[Prompt]) -> bool:
        """Begin the next prompts; False when there are no more."""
        pieces: list[_Piece] = []
        taken = 0
        for prompt in prompts:
            task = _Task(prompt, talks.begin(client, prompt, self.question))
            pieces += self._pieces(client, task, next(task.talk))
            taken += 1
            if taken == AHEAD:
                break
        self._look_up(client, pieces)
        return taken == AHEAD

    def _pieces(self, client: Client, task: _Task, bodies: list[Body]) -> list[_Piece]:
        address = f"{self.endpoint.base_url.rstrip('/')}/{client.path}"
        task.replies, task.left = [None] * len(bodies), len(bodies)
        return [
            _Piece(
                task=task,
                place=place,
                body=body,
                digest=cache.digest(address, body, task.prompt.sample),
                most=self.endpoint.cost(
                    most_input_tokens(client.texts(body)), client.most_output(body)
                ),
            )
            for place, body in enumerate(bodies)
        ]

    def _look_up(self, client: Client, pieces: list[_Piece]) -> None:
        """Answer what was answered before; the rest waits for its turn."""
        rows = cache.rows(self.version, (piece.digest for piece in pieces), self.purpose)
        for piece in pieces:
            piece.row = rows[piece.digest]
            self._found(client, piece, piece.row)

    def _found(self, client: Client, piece: _Piece, row: TeacherAnswer) -> None:
        if row.status == TeacherAnswer.Status.ANSWERED:
            assert row.reply is not None
            self._replied(client, piece, Reply.restored(row.reply), row.cost)
        else:
            self._waiting.append(piece)

    # -- sending ---------------------------------------------------------------------------------

    def _send(self, client: Client, pool: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        for _ in range(len(self._elsewhere)):
            piece = self._elsewhere.popleft()
            if piece.look_at > now:
                self._elsewhere.append(piece)
                continue
            assert piece.row is not None
            self._found(client, piece, TeacherAnswer.objects.get(pk=piece.row.pk))
        while self._waiting and len(self._flying) < self.endpoint.concurrency:
            if self._over is not None:
                self._waiting.clear()
                return
            piece = self._waiting.popleft()
            if piece.task.over:
                continue
            if not self.budget.reserve(piece.most):
                if self._flying:  # what they leave of their reserve may be enough
                    self._waiting.appendleft(piece)
                    return
                self._stop(
                    "budget",
                    f"The budget of {self.budget.cap} is spent but for what the next request might "
                    f"cost ({self.budget.spent:.6f} so far, at most {piece.most:.6f} more).",
                )
                return
            assert piece.row is not None
            piece.held = cache.claim(piece.row)
            if piece.held is None:
                self.budget.settle(piece.most, Decimal(0))
                piece.look_at = now + ELSEWHERE
                self._elsewhere.append(piece)
                continue
            leases.holding.add(piece.held)
            self._flying[pool.submit(self._tried, client, piece)] = piece

    def _tried(self, client: Client, piece: _Piece) -> _Outcome:
        """In a thread: the request, as often as it may help."""
        outcome = _Outcome()
        delay, patience = FIRST_WAIT, LONGEST_PATIENCE
        while True:
            turn = self._pace.turn()
            patience -= turn
            if self._leave.wait(turn):
                outcome.left = True
                return outcome
            outcome.sent += 1
            try:
                outcome.reply = client.send(piece.body, name=piece.digest)
                return outcome
            except Fault as found:
                fault = found
            except Exception as surprise:  # a client's own mistake fails its request only
                log.warning("A request met a surprise: %s", type(surprise).__name__)
                fault = Fault("cut", f"The client met a surprise: {type(surprise).__name__}.")
            outcome.fault = fault
            outcome.risked += fault.paid
            most = MOST_REFUSALS if fault.reason == "rate_limited" else MOST_TRIES
            spent = outcome.sent >= most or outcome.risked >= MOST_PAID_TRIES
            if not fault.again or spent or patience < 0:
                return outcome
            if fault.paid:
                if not self.budget.reserve(piece.most):
                    return outcome  # its first try may have cost all that was left
                outcome.reserved += 1
            if fault.after is not None:
                self._pace.close(fault.after)
                pause = random.uniform(0.0, 0.1 * fault.after)  # noqa: S311 - they need not all come at once
            else:
                pause = delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, hides nothing
                delay = min(2 * delay, LONGEST_WAIT)
            patience -= pause
            if self._leave.wait(pause):
                outcome.left = True
                return outcome

    # -- what came of it -------------------------------------------------------------------------

    def _landed(self, client: Client, future: Future[_Outcome]) -> None:
        """Write what came of a request, then go on with its prompt."""
        piece = self._flying.pop(future)
        outcome = future.result()
        assert piece.held is not None
        risk = piece.most * outcome.risked
        cost = self._cost(piece, outcome.reply)
        try:
            if outcome.reply is not None:
                cache.answered(piece.held, outcome.reply, cost, outcome.sent, risk)
            elif outcome.left:
                cache.give_back(piece.held, outcome.sent, risk)
            else:
                assert outcome.fault is not None
                cache.failed(piece.held, outcome.fault, outcome.sent, risk)
        except Fenced:
            log.warning("%s was asked by another meanwhile.", piece.held)
        finally:
            self._let_go(piece)
            self.budget.settle(piece.most * outcome.reserved, cost + risk)
        piece.task.requests += outcome.sent
        if outcome.reply is not None:
            self._lost = 0
            self._replied(client, piece, outcome.reply, cost)
        elif outcome.fault is not None and not outcome.left:
            self._failed(piece, outcome.fault)

    def _cost(self, piece: _Piece, reply: Reply | None) -> Decimal:
        if reply is None:
            return Decimal(0)
        if not reply.counted:  # a service that does not tell is taken at its dearest
            return piece.most
        return self.endpoint.cost(reply.input_tokens, reply.output_tokens)

    def _replied(self, client: Client, piece: _Piece, reply: Reply, cost: Decimal) -> None:
        task = piece.task
        task.input_tokens += reply.input_tokens
        task.output_tokens += reply.output_tokens
        task.cost += cost
        task.replies[piece.place] = reply
        task.left -= 1
        if task.left or task.over:
            return
        try:
            bodies = task.talk.send([one for one in task.replies if one is not None])
        except StopIteration as end:
            self._finish(task, **end.value)
        except Fault as fault:
            said = reply.text[:2000] if fault.reason in {"malformed", "unfinished"} else ""
            self._finish(task, reason=fault.reason, detail=fault.sentence, text=said)
        else:
            self._look_up(client, self._pieces(client, task, bodies))

    def _failed(self, piece: _Piece, fault: Fault) -> None:
        if fault.fatal:
            self._stop(fault.reason, fault.sentence)
            return
        if not piece.task.over:
            self._finish(piece.task, reason=fault.reason, detail=fault.sentence)
        self._lost += fault.again
        if self._lost >= GIVING_UP:
            self._stop("away", f"{self._lost} requests in a row failed. {fault.sentence}")

    def _finish(self, task: _Task, **said: Any) -> None:
        task.over = True
        answer = Answer(
            key=task.prompt.key,
            input_tokens=task.input_tokens,
            output_tokens=task.output_tokens,
            cost=task.cost,
            requests=task.requests,
            cached=not task.requests,
            **said,
        )
        self.report.add(answer)
        self._ready.append(answer)

    def _handed_over(self) -> Iterator[Answer]:
        while self._ready:
            yield self._ready.popleft()

    # -- the end ---------------------------------------------------------------------------------

    def _stop(self, reason: str, sentence: str) -> None:
        if self._over is None:
            self._over = self._stopped(reason, sentence)
            self._leave.set()

    def _stopped(self, reason: str, sentence: str) -> Stopped:
        self.report.stopped = reason
        return Stopped(reason, sentence)

    def _land(self, client: Client, pool: ThreadPoolExecutor) -> None:
        """Await and write what is under way, whatever ended the asking: it is paid for."""
        self._leave.set()
        until = time.monotonic() + self.endpoint.timeout + 5
        if self._stopping():
            until = min(until, time.monotonic() + LEAVING)
        for future in tuple(self._flying):
            with suppress(Exception):
                future.exception(timeout=max(0.0, until - time.monotonic()))
            if future.done():
                self._landed(client, future)
            else:
                self._let_go(self._flying.pop(future))
        pool.shutdown(wait=False, cancel_futures=True)

    def _let_go(self, piece: _Piece) -> None:
        if piece.held is not None:
            leases.holding.discard(piece.held)


def key_of(version: ModelVersion) -> str:
    """The key for where this version asks; empty where there is none. Raises secrets.Unreadable."""
    kept = ApiKey.objects.filter(
        model=version.model_id, origin=Endpoint.of(version.source).origin
    ).first()
    return secrets.unseal(kept.sealed) if kept is not None else ""
