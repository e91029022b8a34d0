"""A language-model server for tests and benchmarks: real HTTP, deterministic answers, seeded faults, and a bill.

    python -m tests.stub_llm --port 9000 --accuracy 0.85 --fault 500=0.02 --fault slow_drip=0.01

It reads prompts of models_ml/llm/chat.py. Which option an item gets depends on its text and the seed alone; which fault
meets it also on how often it was asked. The bill counts each request that was processed, as a provider would,
whether or not the client got to read the answer.
"""

import argparse
import asyncio
import hashlib
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

# Turned away or failed before any work: never on the bill.
UNCHARGED = (
    "429", "429_retry_after", "insufficient_quota", "400", "401", "403", "404", "context_length", "content_policy",
    "unsupported", "redirect", "503", "drop_before",
)  # fmt: skip
# The work was done, and is on the bill, whatever comes back.
CHARGED = (
    "500", "502", "timeout", "drop_after", "slow_drip", "html", "cut_json", "wrong_schema", "empty_choices",
    "no_choices_text", "usage_missing", "usage_negative", "usage_huge", "usage_text", "usage_zero", "refusal",
    "content_filter", "unknown_label", "prose", "truncated", "no_logprobs", "sentinels", "nan_logprobs", "huge",
    "error_in_200", "gzip_bomb",
)  # fmt: skip
# How models write the code of an option, or its label's name, that they were asked for.
WRAPPINGS: dict[str, Callable[[str, str], str]] = {
    "code": lambda code, name: code,
    "full stop": lambda code, name: f"{code}.",
    "parenthesis": lambda code, name: f"{code})",
    "parentheses": lambda code, name: f"({code})",
    "bold": lambda code, name: f"**{code}**",
    "quoted": lambda code, name: f'"{code}"',
    "small": lambda code, name: code.lower(),
    "blank": lambda code, name: f" {code}",
    "name": lambda code, name: name,
    "other case": lambda code, name: name.title(),
    "code and name": lambda code, name: f"{code}. {name}",
    "code, name": lambda code, name: f"{code}: {name}",
    "sentence": lambda code, name: f"Answer: {code}",
    "thought": lambda code, name: f"<think>Not Z, so {name}.</think>{code}",
    "json": lambda code, name: json.dumps({"label": code}),
    "parts": lambda code, name: code,  # and the content is a list
}
_STATUS = {"429_retry_after": 429, "insufficient_quota": 429, "context_length": 400, "content_policy": 400,
           "unsupported": 400}  # fmt: skip
_CODE = {"insufficient_quota": "insufficient_quota", "context_length": "context_length_exceeded",
         "content_policy": "content_policy_violation", "unsupported": "unsupported_parameter",
         "404": "model_not_found", "401": "invalid_api_key"}  # fmt: skip
_OTHERS = ("The", "I", "It", "\n", "This", "Answer", "**", "Option", "Based", "None", "Sure", "a", "-", "1", "An", "In",
           "If", "We", "No", "Yes")  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How the server behaves. Prices are micro-units per million tokens, as in Endpoint."""

    seed: int = 0
    accuracy: float = 0.9  # of `truth`; an item without one belongs to the option that shares most words with it
    truth: Mapping[str, str] = field(default_factory=dict)  # an item's text (parts joined by a line break) → label name
    faults: Mapping[str, float] = field(default_factory=dict)  # kind → share of requests
    fault_attempts: int | None = None  # an item is spared after so many requests; None: never
    retry_after: float = 1.0
    latency_seconds: float = 0.0
    hang_seconds: float = 60.0  # what "timeout" waits before it answers
    drip_seconds: float = 0.2  # between two bytes of "slow_drip"
    input_price: int = 150_000
    output_price: int = 600_000
    key: str | None = None  # required as bearer token
    max_alternatives: int = 20  # fewer are given where more are asked for
    wrappings: Sequence[str] = ("code",)  # of WRAPPINGS; which of them an item gets depends on its text
    says: str | None = None  # to everything that it is asked
    bill: Path | None = None  # a file that gets a line for each request that is charged

    def __post_init__(self) -> None:
        if unknown := set(self.faults) - set(UNCHARGED) - set(CHARGED):
            raise ValueError(f"no such faults: {sorted(unknown)}")
        if sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError("the faults' shares sum to more than 1")


@dataclass
class Bill:
    """What the provider would have charged for."""

    n_requests: int = 0
    n_charged: int = 0
    micros: int = 0
    n_input_tokens: int = 0
    n_output_tokens: int = 0
    most_at_once: int = 0
    items: Counter[str] = field(default_factory=Counter)  # requests per item, under item_id(text)
    charged_items: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


def item_id(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def wrapped(wrapping: str, code: str, name: str) -> Any:
    """What stands as content in a message that names this option."""
    text = WRAPPINGS[wrapping](code, name)
    return [{"type": "text", "text": text}] if wrapping == "parts" else text


def in_tokens(text: str, code: str) -> list[str]:
    """The text cut into tokens, the code that answers being one of its own."""
    begin, own, end = text.rpartition(code)
    words = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+")
    return [*words.findall(begin), *(own and [own]), *words.findall(end)]


class Model:
    """The deterministic part: what a request is about, what it is answered, what that costs."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def chance(self, *what: object) -> float:
        """A number in [0, 1) that depends on the seed and on this alone."""
        digest = hashlib.sha256(repr((self.options.seed, *what)).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:7], "big") / 2**56

    def fault(self, text: str, attempt: int) -> str | None:
        if self.options.fault_attempts is not None and attempt > self.options.fault_attempts:
            return None
        u = self.chance("fault", text, attempt)
        for kind, share in self.options.faults.items():
            if (u := u - share) < 0:
                return kind
        return None

    def answer(self, text: str, options: dict[str, str]) -> tuple[str, bool]:
        """The code this item gets, and whether it is the true one. `options`: code → "name: definition ..."."""
        codes = list(options)
        right = self._truth(text, options)
        if self.chance("is right", text) < self.options.accuracy or len(codes) < 2:
            return right, True
        others = [code for code in codes if code != right]
        return others[int(self.chance("error", text) * len(others))], False

    def _truth(self, text: str, options: dict[str, str]) -> str:
        if text in self.options.truth:
            name = self.options.truth[text]
            starts = (f"{name}:", f"{name} Examples:")
            return next(code for code, told in options.items() if told == name or told.startswith(starts))
        words = set(re.findall(r"\w+", text.lower()))
        shared = {code: len(words & set(re.findall(r"[^\W_]+", told.lower()))) for code, told in options.items()}
        return max(options, key=lambda code: (shared[code], self.chance("tie", text, code)))

    def chances(self, text: str, code: str, is_right: bool, codes: list[str]) -> dict[str, float]:
        """Probabilities of tokens: the codes with 86 to 99 % of the mass, blanks before some, the rest on words."""
        mass = 0.86 + 0.13 * self.chance("mass", text)
        top = (0.5 + 0.45 * self.chance("top", text)) if is_right else (0.4 + 0.35 * self.chance("top", text))
        top = 1.0 if len(codes) == 1 else top
        weights = {other: 0.05 + self.chance("weight", text, other) for other in codes if other != code}
        found = {}
        for other in codes:
            p = mass * (top if other == code else (1 - top) * weights[other] / sum(weights.values()))
            found[other], found[f" {other}"] = 0.9 * p, 0.1 * p
        rest = [2.0**-i for i in range(len(_OTHERS))]
        return found | {word: (1 - mass) * w / sum(rest) for word, w in zip(_OTHERS, rest, strict=True)}


def tokens_in(messages: list[dict[str, str]]) -> int:
    """About a token per four bytes and a few around each message: always fewer than bytes plus 16 per message."""
    return sum(math.ceil(len(message["content"].encode()) / 4) + 5 for message in messages) + 3


def item_text(content: str) -> str:
    """The item in a question of chat.py, its parts joined; else the content as it is."""
    for line in content.splitlines():
        if line.startswith("{"):
            try:
                return "\n".join(json.loads(line).values())
            except (ValueError, TypeError, AttributeError):
                break
    return content


def options_in(content: str) -> dict[str, str]:
    """code → what is said about it, from the system message of chat.py."""
    _, _, listed = content.rpartition("\nOptions:\n")
    return dict(line.split(". ", 1) for line in listed.splitlines() if re.match(r"[A-Z]+\. ", line))


class Server:
    """The HTTP part, within one event loop."""

    def __init__(self, options: Options) -> None:
        self.options, self.model, self.bill = options, Model(options), Bill()
        self._n_now = 0
        self.authorizations: set[str] = set()

    def configure(self, options: Options) -> None:
        self.options, self.model = options, Model(options)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=50_000_000)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/bill", self.show_bill)
        app.router.add_post("/reset", self.reset)
        return app

    async def show_bill(self, _: web.Request) -> web.Response:
        return web.json_response(vars(self.bill))

    async def reset(self, _: web.Request) -> web.Response:
        self.bill = Bill()
        return web.json_response({})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.bill.n_requests += 1
        self._n_now += 1
        self.bill.most_at_once = max(self.bill.most_at_once, self._n_now)
        try:
            return await self._complete(request)
        finally:
            self._n_now -= 1

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        self.authorizations.add(authorization)
        if self.options.key is not None and authorization != f"Bearer {self.options.key}":
            return _error("401")
        asked = await request.json()
        text = item_text(asked["messages"][-1]["content"])
        self.bill.items[item_id(text)] += 1
        kind = self.model.fault(text, self.bill.items[item_id(text)])
        if kind:
            self.bill.faults[kind] += 1
        if kind in UNCHARGED:
            return self._turned_away(request, kind)
        answer = self._processed(asked, text)
        await asyncio.sleep(self.options.latency_seconds)
        return await self._faulty(request, answer, kind) if kind else web.json_response(answer)

    def _turned_away(self, request: web.Request, kind: str) -> web.Response:
        if kind == "drop_before":
            _drop(request)
        if kind == "redirect":
            return web.Response(status=307, headers={"Location": "/v1/elsewhere"})
        headers = {"Retry-After": f"{self.options.retry_after:g}"} if kind == "429_retry_after" else {}
        return _error(kind, headers)

    def _processed(self, asked: dict[str, Any], text: str) -> dict[str, Any]:
        """The answer, and its price on the bill."""
        options = options_in(asked["messages"][0]["content"]) or {"A": "", "B": ""}
        code, is_right = self.model.answer(text, options)
        content, tokens = self._said(text, code, options[code])
        most = asked.get("max_tokens", asked.get("max_completion_tokens"))
        is_cut = most is not None and len(tokens) > most
        if is_cut:
            content, tokens = "".join(tokens[:most]), tokens[:most]
        n_in, n_out = tokens_in(asked["messages"]), len(tokens)
        self._charge(text, n_in, n_out)
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": content, "refusal": None},
                                  "finish_reason": "length" if is_cut else "stop", "logprobs": None}  # fmt: skip
        if asked.get("logprobs"):
            chances = self.model.chances(text, code, is_right, list(options))
            choice["logprobs"] = {"content": self._tokens(chances, code, tokens, asked.get("top_logprobs", 0))}
        usage = {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
        return {"id": f"chatcmpl-{item_id(text)}", "object": "chat.completion", "model": asked["model"],
                "choices": [choice], "usage": usage}  # fmt: skip

    def _said(self, text: str, code: str, told: str) -> tuple[Any, list[str]]:
        """What the message holds, and its tokens; a code of several letters is a token a letter."""
        if self.options.says is not None:
            return self.options.says, in_tokens(self.options.says, code)
        wrapping = self.options.wrappings[int(self.model.chance("wrapping", text) * len(self.options.wrappings))]
        content = wrapped(wrapping, code, told.partition(": ")[0].partition(" Examples: ")[0])
        whole = content if isinstance(content, str) else content[0]["text"]
        own = code.lower() if wrapping == "small" else code
        cut = [list(token) if token == own else [token] for token in in_tokens(whole, own)]
        return content, [token for tokens in cut for token in tokens]

    def _charge(self, text: str, n_in: int, n_out: int) -> None:
        bill, price_in, price_out = self.bill, self.options.input_price, self.options.output_price
        bill.n_charged += 1
        bill.charged_items[item_id(text)] += 1
        bill.n_input_tokens += n_in
        bill.n_output_tokens += n_out
        micros = -(-(n_in * price_in + n_out * price_out) // 1_000_000)
        bill.micros += micros
        if self.options.bill is not None:  # a file outlives a server that is killed
            with self.options.bill.open("a") as file:
                file.write(json.dumps({"item": item_id(text), "micros": micros}) + "\n")

    def _tokens(self, chances: dict[str, float], code: str, tokens: list[str], n: int) -> list[dict[str, Any]]:
        """The entries of the tokens; the first of the code's own has alternatives."""
        likeliest = sorted(chances, key=lambda token: (-chances[token], token))
        top = [{"token": token, "logprob": math.log(chances[token]), "bytes": list(token.encode())}
               for token in likeliest[: min(n, self.options.max_alternatives)]]  # fmt: skip
        own = max((place for place, token in enumerate(tokens) if token.upper() == code[0]), default=0)
        own = max(own - len(code) + 1, 0)
        entries = [{"token": token, "logprob": -0.01, "top_logprobs": []} for token in tokens]
        entries[own : own + 1] = [
            {"token": token, "logprob": math.log(chances.get(code, 0.5)), "top_logprobs": top}
            for token in tokens[own : own + 1]
        ]
        return entries

    async def _faulty(self, request: web.Request, answer: dict[str, Any], kind: str) -> web.StreamResponse:
        if kind in ("500", "502"):
            return _error(kind)
        if kind == "timeout":
            await asyncio.sleep(self.options.hang_seconds)
        if kind == "drop_after":
            _drop(request)
        if kind == "slow_drip":
            return await self._drip(request, json.dumps(answer).encode())
        if kind == "gzip_bomb":
            response = web.Response(body=b'{"a": "' + b" " * 60_000_000 + b'"}', content_type="application/json")
            response.enable_compression(web.ContentCoding.gzip)
            return response
        body = spoiled(answer, kind)
        return web.Response(body=body, content_type="text/html" if kind == "html" else "application/json")

    async def _drip(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for byte in body:
            await response.write(bytes([byte]))
            await asyncio.sleep(self.options.drip_seconds)
        return response


def spoiled(answer: dict[str, Any], kind: str) -> bytes:
    """The bytes of an answer with one thing wrong with it."""
    choice, usage = answer["choices"][0], answer["usage"]
    message = choice["message"]
    if kind == "html":
        return b"<!DOCTYPE html><html><body><h1>A</h1></body></html>"
    if kind == "cut_json":
        return json.dumps(answer).encode()[:-40]
    if kind == "error_in_200":
        return json.dumps({"error": {"message": "upstream failed", "code": 502}}).encode()
    if kind == "wrong_schema":
        return json.dumps({"label": "A", "confidence": 1.0, "choices": [{"text": "A"}], "usage": usage}).encode()
    if kind == "huge":
        message["content"] = "A" * 10_000_000
    elif kind == "empty_choices":
        answer["choices"] = []
    elif kind == "no_choices_text":
        message["content"] = None
    elif kind == "usage_missing":
        del answer["usage"]
    elif kind == "usage_negative":
        usage["prompt_tokens"] = -5
    elif kind == "usage_huge":
        usage["prompt_tokens"] = 10**15
    elif kind == "usage_text":
        usage["prompt_tokens"] = str(usage["prompt_tokens"])
    elif kind == "usage_zero":
        usage["prompt_tokens"] = 0
    elif kind == "refusal":
        message |= {"content": None, "refusal": "I cannot help with that."}
    elif kind == "content_filter":
        choice["finish_reason"] = "content_filter"
    elif kind == "unknown_label":
        message["content"] = "Ω"
    elif kind == "prose":
        message["content"] = f"The answer is {message['content']}."
    elif kind == "truncated":
        message["content"], choice["finish_reason"] = "Let me think about", "length"
    elif kind == "no_logprobs":
        choice["logprobs"] = None
    elif kind in ("sentinels", "nan_logprobs") and choice["logprobs"]:
        for entry in choice["logprobs"]["content"][0]["top_logprobs"]:
            entry["logprob"] = -9999.0 if kind == "sentinels" else "NaN"
    return json.dumps(answer).encode()


def _drop(request: web.Request) -> None:
    """Cut the connection as a crashed process does; whatever the handler still returns goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("dropped on purpose")


def _error(kind: str, headers: Mapping[str, str] | None = None) -> web.Response:
    status = _STATUS.get(kind) or int(kind)
    error = {"message": "It echoes things: Bearer, prompt.", "type": "error", "code": _CODE.get(kind)}
    return web.json_response({"error": error}, status=status, headers=headers)


class Stub:
    """A running server, seen from a test."""

    def __init__(self, server: Server, runner: web.AppRunner, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._runner, self._loop = server, runner, loop
        self._port = port = runner.addresses[0][1]
        self.root = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.root}/v1"

    @property
    def options(self) -> Options:
        return self._server.options

    @property
    def authorizations(self) -> set[str]:
        """Every Authorization header that came, "" where none did."""
        return self._server.authorizations

    def bill(self) -> Bill:
        return self._server.bill

    def reset(self) -> None:
        self._server.bill = Bill()

    def kill(self) -> None:
        """Seen from outside, the process is gone: calls in flight are cut off, and nobody listens any more."""
        asyncio.run_coroutine_threadsafe(_killed(self._runner), self._loop).result(10)

    def restart(self) -> None:
        """Listen again on the same port; the provider's bill goes on."""
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        asyncio.run_coroutine_threadsafe(site.start(), self._loop).result(10)

    def change(self, **options: Any) -> None:
        """Behave otherwise from now on; the bill goes on."""
        self._server.configure(replace(self._server.options, **options))


@contextmanager
def stub_llm(**options: Any) -> Iterator[Stub]:
    """A server with these Options on a free port of this machine, in a thread of its own."""
    server, loop = Server(Options(**options)), asyncio.new_event_loop()
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        # In its thread from the start: the calling one may have a loop that runs, as under Playwright.
        asyncio.run_coroutine_threadsafe(_listening(runner, "127.0.0.1", 0), loop).result(10)
        yield Stub(server, runner, loop)
    finally:
        asyncio.run_coroutine_threadsafe(_ended(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _killed(runner: web.AppRunner) -> None:
    for site in list(runner.sites):
        await site.stop()
    for connection in runner.server.connections if runner.server else ():
        if connection.transport is not None:
            connection.transport.abort()


async def _ended(runner: web.AppRunner) -> None:
    await runner.cleanup()
    hanging = asyncio.all_tasks() - {asyncio.current_task()}  # answers that nobody waits for any more
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def _listening(runner: web.AppRunner, host: str, port: int) -> None:
    await runner.setup()
    await web.TCPSite(runner, host, port).start()


async def serve(options: Options, host: str, port: int) -> None:
    runner = web.AppRunner(Server(options).app(), access_log=None)
    await _listening(runner, host, port)
    print(f"Ready: http://{host}:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


_KINDS = ", ".join(UNCHARGED + CHARGED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accuracy", type=float, default=Options.accuracy)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per answer")
    parser.add_argument("--input-price", type=int, default=Options.input_price, help="micro-units per million tokens")
    parser.add_argument("--output-price", type=int, default=Options.output_price)
    parser.add_argument("--key")
    parser.add_argument("--truth", type=Path, help='JSON Lines with "text" (or "text_a", "text_b") and "label"')
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND=SHARE", help=", ".join(UNCHARGED + CHARGED)
    )
    parser.add_argument("--fault-attempts", type=int)
    parser.add_argument("--bill", type=Path, help="a file that gets a line for each request that is charged")
    given = parser.parse_args()
    faults = {kind: float(share) for kind, _, share in (fault.partition("=") for fault in given.fault)}
    options = Options(
        seed=given.seed, accuracy=given.accuracy, latency_seconds=given.latency, input_price=given.input_price,
        output_price=given.output_price, key=given.key, faults=faults, fault_attempts=given.fault_attempts,
        truth=_truth_in(given.truth) if given.truth else {}, bill=given.bill,
    )  # fmt: skip
    asyncio.run(serve(options, given.host, given.port))


def _truth_in(path: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["text"] if "text" in row else f"{row['text_a']}\n{row['text_b']}": row["label"] for row in rows}


if __name__ == "__main__":
    main()
