"""Decides what a pre-labeling would cost, and shows what exactly it would send, before any money is spent."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from annotate import access, projects, samples
from annotate.errors import Conflict, InvalidInput
from annotate.models import Budget, Item, Project, User
from annotate.money import budgets
from annotate.providers import openai
from annotate.providers.openai import Endpoint
from annotate.silver import connections, prompts
from models_ml.llm import chat
from models_ml.llm.chat import Message
from models_ml.types import Contents

_SAMPLE = 1_000  # items that are read; figures for more are extrapolated, with an error of some percent
# A token of English has about four bytes, of other scripts fewer, of long words more.
_BYTES_PER_TOKEN, _MOST_BYTES_PER_TOKEN = 4.0, 6.0
_AROUND_MESSAGE, _AROUND_REQUEST = 5, 3  # tokens that chat formats add to each message and request, about


@dataclass(frozen=True)
class Range:
    """A figure for one attempt per item: `likely` for English; `high` is an upper bound for the items read."""

    low: int
    likely: int
    high: int


@dataclass(frozen=True)
class Quote:
    """What asking all pending (or failed) items would cost, computed without sending or reserving anything."""

    n_items: int  # without an answer under the current prompt version; or with a failure, where these are quoted
    n_read: int  # how many of these were read to compute the figures
    input_tokens: Range
    output_tokens: Range
    micros: Range
    most_micros: int  # the dearest reservation of the items that were read: the cap must have room for it
    cap_micros: int | None
    left_micros: int | None  # None without a cap
    currency: str
    refusal: str | None  # why not even one item would be asked now
    previews: tuple["Preview", ...]
    n_failed: int = 0  # items whose answer under the current prompt version is a failure

    @property
    def fits(self) -> bool:
        """Whether the likely price of all items fits below the cap."""
        return self.refusal is None and (self.left_micros is None or self.micros.likely <= self.left_micros)


@dataclass(frozen=True)
class Preview:
    """The messages for one item exactly as they would be sent, and the address they would go to."""

    item: Item
    messages: tuple[Message, ...]
    most_micros: int
    server: str


def quote(*, project: Project, by: User, n_previews: int = 3, failed_again: bool = False) -> Quote:
    """What asking all pending items would cost; Conflict if the project's connection cannot be asked now.

    `failed_again`: of all items whose answer is a failure instead.
    """
    access.require(by, project, to="manage")
    connection = connections.of_project(project)
    endpoint = connections.endpoint_of(connection)
    prompt = prompts.existing(**prompts.of_connection(project, connection, endpoint))
    failed = prompts.failed(project, prompt)
    found = failed if failed_again else prompts.pending(project, prompt)
    # The items with the smallest permanent random numbers are a random sample, the same at each call.
    items = list(found.select_related("content").order_by("prn")[:_SAMPLE])
    n_items = len(items) if len(items) < _SAMPLE else found.count()
    shown = found.select_related("content").filter(samples.for_examples()).order_by("prn")[:n_previews]
    previews = [_preview(project, item, endpoint) for item in shown]
    budget = budgets.of(project, Budget.Kind.MACHINE)
    parts = [prompts.parts_of(item) for item in items]
    inputs, outputs, micros, most = _ranges(project, parts, endpoint, n_items)
    return Quote(
        n_items=n_items,
        n_read=len(items),
        input_tokens=inputs,
        output_tokens=outputs,
        micros=micros,
        most_micros=most,
        cap_micros=budget.cap_micros,
        left_micros=budget.left_micros,
        currency=project.currency,
        refusal=budgets.refusal(budget, most),
        previews=tuple(previews),
        n_failed=failed.count() if prompt else 0,
    )


def of_new(*, project: Project, n_items: int, mean_characters: float, by: User) -> int | None:
    """About how many micros it would cost to ask for `n_items` items that are not imported yet, by their mean length.

    None if there are no items, no connection, or a connection that cannot be asked now.
    """
    access.require(by, project, to="manage")
    if project.connection_id is None or not n_items:
        return None
    try:
        endpoint = connections.endpoint_of(connections.of_project(project))
    except (Conflict, InvalidInput):
        return None
    mean = ("x" * round(mean_characters),)  # one item of mean length; _ranges adds the prompt around it
    _inputs, _outputs, micros, _most = _ranges(project, [mean], endpoint, n_items)
    return micros.likely


def prompt_preview(*, project: Project, item: Item, by: User) -> Preview:
    """Exactly what would be sent for this item; InvalidInput if it belongs to another project."""
    access.require(by, project, to="manage")
    if item.project_id != project.pk:
        raise InvalidInput(_("This item belongs to another project."))
    return _preview(project, item, connections.endpoint_of(connections.of_project(project)))


def _preview(project: Project, item: Item, endpoint: Endpoint) -> Preview:
    messages = chat.messages(_opening(project), prompts.parts_of(item))
    server = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    return Preview(item, tuple(messages), openai.most_micros(endpoint, messages), server)


def _opening(project: Project) -> tuple[Message, ...]:
    return prompts.opening(projects.current_schema(project), projects.current_guidelines(project))


def _ranges(
    project: Project, items: Sequence[Contents], endpoint: Endpoint, n_items: int
) -> tuple[Range, Range, Range, int]:
    """Input tokens, output tokens and micros of `n_items` items that are like `items`, and the dearest reservation."""
    opening = _opening(project)
    n_fixed, sizes, most_tokens, most = _n_bytes(opening), [], 0, []
    for parts in items:
        if chat.without_asking(parts):
            continue
        messages = chat.messages(opening, parts)
        sizes.append(n_fixed + len(messages[-1]["content"].encode()))
        most_tokens += openai.most_input_tokens(messages)
        most.append(openai.most_micros(endpoint, messages))
    share = n_items / len(items) if items else 0.0
    around = (len(opening) + 1) * _AROUND_MESSAGE + _AROUND_REQUEST
    low, likely = (
        round(share * (sum(sizes) / per_token + around * len(sizes)))
        for per_token in (_MOST_BYTES_PER_TOKEN, _BYTES_PER_TOKEN)
    )
    n = round(share * len(sizes))
    inputs = Range(low, likely, round(share * most_tokens))
    outputs = Range(n, n, n * endpoint.max_output_tokens)
    money = Range(
        openai.cost_micros(endpoint, inputs.low, outputs.low),
        openai.cost_micros(endpoint, inputs.likely, outputs.likely),
        round(share * sum(most)),
    )
    return inputs, outputs, money, max(most, default=0)


def _n_bytes(messages: tuple[Message, ...]) -> int:
    return sum(len(message["content"].encode()) for message in messages)
