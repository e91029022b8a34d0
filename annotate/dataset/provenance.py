"""Decides what an exported row holds: the item, its delivered label, and where that label came from."""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from django.db.models import TextField
from django.db.models.functions import Cast
from numpy.typing import NDArray
from safetensors import safe_open

from annotate import files, labels
from annotate.models import Annotation, DeliveredVersion, Draw, Gold, Item, Prediction
from annotate.models.project import Arm
from models_ml.arrays import Positions
from models_ml.label_map import NO_LABEL

CHUNK_ROWS = 5_000
DIGITS = 6  # of exported probabilities: they are stored as float32, which holds about seven

COLUMNS: dict[str, str] = {
    "id": "Goldloop's own id of the item",
    "external_id": "the id that the item had in its file, or null",
    "payload": "the content; in CSV one column per field, for instance payload.text",
    "label": "the delivered label: gold where there is one, else the machine's; null where there is neither",
    "label_source": "gold or machine",
    "label_probability": "calibrated probability of a machine label, rounded to 6 digits; null for gold",
    "gold_rule": "the rule that the gold label met, 'imported', or 'adjudicated': a reviewer decided a disagreement",
    "gold_origin": "the arm that obtained the gold label first",
    "arms": "every reason why the item was drawn, sorted; in CSV joined by ;",
    "split": "audit (only ever evaluates), reference (a random sample), train (other gold), pool (the rest)",
    "pi": "probability of having been drawn for the audit or reference sample, or null where unknown",
    "request_stratum": "which items the request that drew the item asked for; null: none drew it",
    "silver_label": "the label that the LLM gave, as it reads under these labels; null where it gave none of them",
    "silver_probability": "the LLM's probability of that label, or null where it is unknown",
    "silver_status": "how the LLM's answer ended: ok, or the kind of failure; null: it was not asked",
    "model_label": "the label of the trained model, predicted without having seen this item",
    "model_probability": "the model's probability of that label",
    "fold": "the fold that the item was left out with",
    "annotators": "public ids of the people whose answers count, sorted; in CSV joined by ;",
    "n_annotations": "how many answers count (one per person; skips are no answers)",
    "agreement": "share of those answers equal to the most frequent one; null where there are none",
    "llm_version": "the LLM asked for the silver label",
    "prompt_version": "version of the prompt that it was asked with",
    "model_version": "version of the trained model",
    "schema_version": "version of the labels",
    "guideline_version": "version of the guidelines that the people followed, else the one in the prompt",
    "labeled_at": "when the gold label was reached, UTC; null for machine labels",
}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class AnswerSummary:
    """The counted answers to one item, summarized."""

    people: tuple[str, ...] = ()  # public ids, sorted
    agreement: float | None = None  # share of the answers that give the most frequent label
    guidelines: int | None = None  # the newest version that somebody answered by


@dataclass
class Counts:
    """How many rows `Provenance.chunks` has given so far, in all, by label source and by split."""

    rows: int = 0
    by_source: Counter[str | None] = field(default_factory=Counter)
    by_split: Counter[str] = field(default_factory=Counter)


class Provenance:
    """The rows of one delivered version, in the order of ordinals; labels read as under the schema of that version.

    In memory are the frozen arrays of machine labels and one chunk of rows.
    """

    def __init__(self, delivered: DeliveredVersion) -> None:
        self.delivered, self.counts = delivered, Counts()
        self._machine = _Machine(delivered)
        history = labels.history(delivered.schema)
        self._schema = [label.name for label in history.labels]
        # Left out: void labels, those of later versions, and those of other projects, see `_gold`.
        reads = {label: history.gold_index(label) for label in history.label_ids}
        self._reads = {label: index for label, index in reads.items() if index != NO_LABEL}
        prompt, model = delivered.prompt, delivered.model
        self._prompt = prompt
        self._change = history.map_from(prompt.schema_id) if prompt else None
        self._prompt_guidelines = prompt.guidelines.version if prompt and prompt.guidelines else None
        self._versions = (
            prompt.model if prompt else None,
            prompt.version if prompt else None,
            model.version if model else None,
            delivered.schema.version,
        )

    def chunks(self) -> Iterator[list[Row]]:
        """Lists of up to CHUNK_ROWS rows, each the values of COLUMNS in their order. Call it inside a read snapshot."""
        items = Item.objects.filter(project=self.delivered.project).in_pool().order_by("ordinal")
        # The payload comes as text and is parsed in _rows: converted by the ORM it costs as much as all other columns.
        wanted = items.filter(ordinal__lte=self.delivered.last_ordinal).values_list(
            "pk", "public_id", "external_id", "ordinal", "fold", Cast("content__payload", TextField())
        )
        last = -1
        while chunk := list(wanted.filter(ordinal__gt=last)[:CHUNK_ROWS]):
            last = chunk[-1][3]
            yield self._rows(chunk)

    def _rows(self, chunk: Sequence[tuple[Any, ...]]) -> list[Row]:
        # Primary keys grow with ordinals, so a range of them selects the chunk's rows without a list of thousands.
        keys = [row[0] for row in chunk]
        among = {"item_id__gte": min(keys), "item_id__lte": max(keys)}
        gold, arms, requests, answers_by_item, silver = (
            self._gold(among),
            self._arms(among),
            self._requests(among),
            self._answers(among),
            self._silver(among),
        )
        label, probability, model_label, model_probability = self._machine.at([row[3] for row in chunk])
        rows = []
        for place, (key, public_id, external_id, _, fold, payload) in enumerate(chunk):
            name, rule, origin, labeled_at, is_trainable = gold.get(key, _NO_GOLD)
            source, p = ("gold", None) if name is not None else ("machine", probability[place])
            if name is None:
                name = self._schema[label[place]] if label[place] >= 0 else None
                source = source if name is not None else None  # type: ignore[assignment]
            drawn = arms.get(key, {})
            split = _split(drawn, is_trainable)
            answers = answers_by_item.get(key, _NOBODY)
            of_model = model_label[place]
            self.counts.by_source[source] += 1
            self.counts.by_split[split] += 1
            rows.append(
                (
                    public_id,
                    external_id,
                    orjson.loads(payload),
                    name,
                    source,
                    p,
                    rule,
                    origin,
                    sorted(drawn),
                    split,
                    drawn.get(_SAMPLE_OF.get(split, "")),
                    requests.get(key),
                    *silver.get(key, _NO_SILVER),
                    self._schema[of_model] if of_model >= 0 else None,
                    model_probability[place],
                    fold,
                    list(answers.people),
                    len(answers.people),
                    answers.agreement,
                    *self._versions,
                    answers.guidelines or self._prompt_guidelines,
                    labeled_at,
                )
            )
        self.counts.rows += len(rows)
        return rows

    def _gold(self, among: dict[str, Any]) -> dict[int, tuple[Any, ...]]:
        """By item, label name, rule, origin, time and whether it is trainable: of an item's two golds the trainable."""
        found: dict[int, tuple[Any, ...]] = {}
        current = Gold.objects.filter(**among).current()
        for item, label, rule, origin, moment in current.values_list(
            "item_id", "label_id", "rule", "origin", "created_at"
        ):
            is_trainable = origin != Arm.AUDIT
            # Gold of another project, whose items may lie in the same range of keys, reads as nothing here either.
            if label in self._reads and (is_trainable or item not in found):
                found[item] = (self._schema[self._reads[label]], rule, origin, _utc(moment), is_trainable)
        return found

    @staticmethod
    def _arms(among: dict[str, Any]) -> dict[int, dict[str, float | None]]:
        """For each item that was drawn: the inclusion probability by arm, of the first draw of that arm."""
        found: dict[int, dict[str, float | None]] = defaultdict(dict)
        for item, arm, pi in Draw.objects.filter(**among).order_by("id").values_list("item_id", "arm", "pi"):
            found[item].setdefault(arm, pi)
        return found

    @staticmethod
    def _requests(among: dict[str, Any]) -> dict[int, str]:
        """For each item that a request drew: what the last of them asked for."""
        drawn = Draw.objects.filter(**among, arm=Arm.REQUEST).order_by("id")
        return dict(drawn.values_list("item_id", "reason"))

    def _answers(self, among: dict[str, Any]) -> dict[int, AnswerSummary]:
        """A summary of the counted answers by item; skips are left out, and labels that a change made void."""
        answers: dict[int, list[tuple[str, int, int | None]]] = defaultdict(list)
        counted = Annotation.objects.filter(**among, is_current=True, is_counted=True, label__isnull=False)
        for item, person, label, guidelines in counted.values_list(
            "item_id", "annotator__public_id", "label_id", "guidelines__version"
        ):
            if label in self._reads:
                answers[item].append((person, self._reads[label], guidelines))
        return {item: _summary(given) for item, given in answers.items()}

    def _silver(self, among: dict[str, Any]) -> dict[int, tuple[Any, ...]]:
        """By item: the silver label, its probability and its status, under the delivered version's prompt version."""
        if self._prompt is None or self._change is None:
            return {}
        rows = Prediction.objects.current().filter(prompt=self._prompt, **among)
        return {
            item: (*self._said(index, vector), status)
            for item, index, vector, status in rows.values_list("item_id", "label_index", "probabilities", "status")
        }

    def _said(self, index: int | None, vector: "bytes | memoryview[int] | None") -> tuple[str | None, float | None]:
        """A machine's label and its probability, as they read under the schema of the delivered version."""
        assert self._change is not None
        if index is None or self._change.target[index] == NO_LABEL:
            return None, None
        column = int(self._change.target[index])
        if vector is None:
            return self._schema[column], None
        if self._change.is_identity:
            p = struct.unpack_from("<f", vector, 4 * index)[0]
        else:
            moved = self._change.probabilities(np.frombuffer(vector, dtype="<f4")[None], np.array([index]))
            p = float(moved[0, column])
        return self._schema[column], None if p != p else round(p, DIGITS)


class _Machine:
    """The machine labels of a delivered version, as it froze them: arrays with one position per item, by ordinal."""

    _NAMES = ("label", "probability", "model_label", "model_probability")

    def __init__(self, delivered: DeliveredVersion) -> None:
        path = files.checked_path(delivered.file, delivered.file_sha256)
        with safe_open(path, framework="numpy") as file:
            self._ordinal: Positions = file.get_tensor("ordinal")
            self._arrays: list[NDArray[Any]] = [file.get_tensor(name) for name in self._NAMES]

    def at(self, ordinals: Sequence[int]) -> tuple[list[int], list[float | None], list[int], list[float | None]]:
        """Delivered machine label, its probability, the model's label and its probability of each of these items.

        A label of -1 and a probability of None mean that there is none, as for items brought back after the freeze.
        """
        wanted = np.array(ordinals, dtype=np.int64)
        place = np.searchsorted(self._ordinal, wanted)
        place = np.minimum(place, max(len(self._ordinal) - 1, 0))
        frozen = self._ordinal[place] == wanted if len(self._ordinal) else np.zeros(len(wanted), dtype=bool)
        label, probability, model_label, model_probability = (
            array[place] if len(array) else np.zeros(len(wanted)) for array in self._arrays
        )
        return (
            np.where(frozen, label, -1).astype(int).tolist(),
            _numbers(np.where(frozen, probability, np.nan)),
            np.where(frozen, model_label, -1).astype(int).tolist(),
            _numbers(np.where(frozen, model_probability, np.nan)),
        )


_NO_GOLD = (None, None, None, None, False)
_NO_SILVER = (None, None, None)
_NOBODY = AnswerSummary()
_SAMPLE_OF = {"audit": Arm.AUDIT.value, "reference": Arm.RANDOM.value}


def _split(drawn: dict[str, float | None], is_trainable: bool) -> str:
    if Arm.AUDIT in drawn:
        return "audit"
    if Arm.RANDOM in drawn:
        return "reference"
    return "train" if is_trainable else "pool"


def _summary(given: list[tuple[str, int, int | None]]) -> AnswerSummary:
    most = Counter(label for _, label, _ in given).most_common(1)[0][1]
    versions = [guidelines for _, _, guidelines in given if guidelines is not None]
    people = tuple(sorted(person for person, _, _ in given))
    return AnswerSummary(people, round(most / len(given), DIGITS), max(versions, default=None))


def _numbers(values: NDArray[Any]) -> list[float | None]:
    """The values rounded to DIGITS, which hides the noise of float32; NaN becomes None."""
    rounded = np.round(values.astype(np.float64), DIGITS).tolist()
    return [None if value != value else value for value in rounded]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
