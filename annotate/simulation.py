"""Decides how simulated people answer, and plays whole projects with them through the product's own functions."""

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from django.db.models import Sum

from annotate import labels, projects, vectors
from annotate import rounds as drawing
from annotate.errors import InvalidInput
from annotate.imports import ingest
from annotate.labeling import answers, leases
from annotate.learning import artefacts, delivery, estimation, pool, training
from annotate.modalities import modality
from annotate.models import Annotation, Estimate, Item, Label, Prediction, Project, QueueEntry, Round, User
from annotate.models.project import Role
from annotate.silver import prelabel
from models_ml import metrics
from models_ml.arrays import Positions
from models_ml.recorded_labels import recorded_label
from models_ml.seeds import generator

_SILVER = "machine_label"  # the column of the imported file that holds what the noisy field says


@dataclass(frozen=True)
class Setup:
    """The settings of a simulated project: its items, its machine, and how people answer."""

    rows: tuple[Mapping[str, Any], ...]  # id, the modality's fields, label, and the noisy field if any
    test_rows: tuple[Mapping[str, Any], ...]
    labels: tuple[projects.NewLabel, ...]
    modality: str = "text"
    noisy_field: str | None = None  # a source of recorded_labels.recorded_label; None: the offline annotator
    human_accuracy: float = 1.0
    strategy: str = "margin"
    batch: int = 100
    rounds: int = 5
    audit_share: float | None = None
    human_price_micros: int = 0


class SimulatedPerson:
    """A person who gives an item's true label with probability `accuracy`, else a random other one."""

    def __init__(self, user: User, truth: Mapping[str, str], *, accuracy: float = 1.0, seed: int = 0) -> None:
        self.user, self._truth, self._accuracy, self._seed = user, truth, accuracy, seed

    def answer_round(self, current: Round) -> int:
        """Answer all open questions of the round, each by a lease and a submit as people do; returns how many."""
        schema = projects.current_schema(current.project)
        labels = {label.name: label for label in projects.labels_of(schema)}
        waiting = current.queue.filter(state=QueueEntry.State.OPEN).select_related("item", "round__project")
        n_answered = 0
        for entry in waiting.order_by("position"):
            label = self._choose(entry, labels)
            lease = leases.lease(entry=entry, annotator=self.user)
            key = f"simulated:{entry.pk}:{self.user.pk}"
            answer = answers.Answer(label=label)
            answers.submit(lease_id=lease.public_id, project=current.project, answer=answer, key=key, by=self.user)
            n_answered += 1
        return n_answered

    def _choose(self, entry: QueueEntry, labels: Mapping[str, Label]) -> Label:
        return labels[self.answer_to(entry.item, set(labels))]

    def answer_to(self, item: Item, names: Set[str]) -> str:
        """The name of the label that this person gives the item whenever asked; `names`: of all labels."""
        right = self._truth[item.external_id or ""]
        random = generator(self._seed, "person", self.user.email, item.content_hash)
        if random.random() < self._accuracy:
            return right
        wrong = sorted(names - {right})
        return wrong[int(random.integers(len(wrong)))]


def simulated_user(email: str, name: str) -> User:
    """The simulated user with this e-mail address, made if there is none; such users cannot sign in."""
    user = User.objects.filter(email=email).first()
    return user or User.objects.create_user(email, name=f"{name} (simulated)", is_simulated=True)


def simulate(setup: Setup, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Play one project from import to the last round; yields a record per round, as `simulate --json` prints it."""
    owner = simulated_user("simulation@goldloop.invalid", "Simulation")
    project = _make_project(setup, seed, owner)
    path = folder / f"items-{project.public_id}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(_import_row(row, setup)) + b"\n" for row in setup.rows))
    ingest.import_items(project=project, path=path, by=owner, silver_field=_SILVER if setup.noisy_field else None)
    if setup.noisy_field is None:
        prelabel.prelabel(project=project, by=owner)
    truth = {str(row["id"]): str(row["label"]) for row in setup.rows}
    person = SimulatedPerson(owner, truth, accuracy=setup.human_accuracy, seed=seed)
    for _ in range(setup.rounds):
        current = drawing.draw_round(project=project, batch=setup.batch, by=owner)
        person.answer_round(current)
        drawing.close_round(project=project, by=owner)
        training.train(project=project, by=owner)
        figures = estimation.estimate(project=project, by=owner)
        yield _measure(setup, current, person, truth, figures)


def _make_project(setup: Setup, seed: int, owner: User) -> Project:
    # The key follows from the seed, so that a simulation can be repeated; a real project's key is random.
    key = hashlib.sha256(f"simulation {seed}".encode()).digest()
    return projects.create(
        name=f"Simulation {seed}",
        slug=f"simulation-{seed}-{Project.objects.count() + 1}",
        modality=setup.modality,
        labels=setup.labels,
        by=owner,
        key=key,
        seed=seed,
        is_simulated=True,
        strategy=setup.strategy,
        audit_share=setup.audit_share,
        human_price_micros=setup.human_price_micros,
    )


def _import_row(row: Mapping[str, Any], setup: Setup) -> dict[str, Any]:
    """The row as it is imported: without the true label."""
    seen = {"id": row["id"], **modality(setup.modality).payload_of(row)}
    if setup.noisy_field:
        seen[_SILVER] = recorded_label(row, setup.noisy_field)
    return seen


def _measure(
    setup: Setup, current: Round, person: SimulatedPerson, truth: Mapping[str, str], figures: list[Estimate]
) -> dict[str, Any]:
    """The record of a round that has just been closed, trained on and estimated."""
    project = current.project
    frozen = delivery.current(project=project, by=person.user)
    items = pool.load(project)
    true, ruled = _true_labels(project, items, truth), _ruled_labels(project, items, person)
    history = labels.history(frozen.row.schema)
    gold = pool.load_gold(items, history)
    silver = pool.load_silver(items, frozen.row.prompt, history)
    model = frozen.at("model_label", items.ordinal)
    machine = frozen.at("label", items.ordinal)
    has_gold = gold.delivered != pool.NO_LABEL
    delivered = np.where(has_gold, gold.delivered, machine)
    said = (silver.label >= 0) & ~silver.failed
    labels_of = {
        Estimate.Estimand.LLM: silver.label,
        Estimate.Estimand.MODEL: model,
        Estimate.Estimand.DELIVERED: delivered,
    }
    pool_truth = {estimand: float((said == true).mean()) for estimand, said in labels_of.items()}
    pool_ruled = {estimand: float((said == ruled).mean()) for estimand, said in labels_of.items()}
    posterior = frozen.at("posterior", items.ordinal)
    record = {
        "seed": project.seed,
        "round": current.index,
        "labels": Annotation.objects.filter(project=project, is_current=True, label__isnull=False).count(),
        "money_micros": _money(project),
        "llm_accuracy": pool_truth[Estimate.Estimand.LLM],
        "llm_filled_accuracy": float((np.where(said, silver.label, model) == true).mean()),
        "model_accuracy": _test_accuracy(setup, frozen),
        "delivered_accuracy": pool_truth[Estimate.Estimand.DELIVERED],
        "delivered_by": frozen.row.rule,
        "ece": float(metrics.ece(posterior[~has_gold], true[~has_gold])) if not has_gold.all() else None,
        "c_hat": frozen.row.delivery["transition"],
        "gold_weight": artefacts.load_version(frozen.row.model).gold_weight if frozen.row.model else None,
    }
    record["gold_weight"] = None if record["gold_weight"] == float("inf") else record["gold_weight"]
    for estimand, value in pool_truth.items():
        figure = next(row for row in figures if row.estimand == estimand)
        record |= _estimate_fields(estimand, figure, value, pool_ruled[estimand])
    return record


def _estimate_fields(estimand: str, row: Estimate, truth: float, gold_rule: float) -> dict[str, Any]:
    """The figure beside the accuracy against the data's labels (`truth`) and against what the gold rule would say.

    The interval promises to hold the second; the first is another quantity as soon as people err.
    """
    if row.value is None or row.low is None or row.high is None:
        return {f"{estimand}_estimate": None, f"{estimand}_estimate_reason": row.reason}
    figure = {
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "gold_rule": gold_rule,
        "covered_gold_rule": _holds(row.low, row.high, gold_rule),
        "truth": truth,
        "covered": _holds(row.low, row.high, truth),
    }
    return {f"{estimand}_estimate": figure}


def _holds(low: float, high: float, value: float) -> bool:
    # 1e-9: an interval that misses by the rounding of the last bit holds the value.
    return low - 1e-9 <= value <= high + 1e-9


def _ruled_labels(project: Project, items: pool.Pool, person: SimulatedPerson) -> Positions:
    """(N,) what the gold rule says, or would say were the item asked: one simulated person answers everything."""
    index = {label.name: label.index for label in projects.labels_of(projects.current_schema(project))}
    rows = project.items.only("id", "external_id", "content_hash").in_bulk([int(i) for i in items.ids])
    return np.array([index[person.answer_to(rows[int(i)], set(index))] for i in items.ids], dtype=np.int64)


def _true_labels(project: Project, items: pool.Pool, truth: Mapping[str, str]) -> Positions:
    index = {label.name: label.index for label in projects.labels_of(projects.current_schema(project))}
    names = dict(project.items.values_list("id", "external_id"))
    return np.array([index[truth[str(names[int(i)])]] for i in items.ids], dtype=np.int64)


def _test_accuracy(setup: Setup, frozen: delivery.Frozen) -> float | None:
    """The champion's accuracy on the test file, whose items were never in the pool."""
    if frozen.row.model is None or not setup.test_rows:
        return None
    kind = modality(setup.modality)
    items = [kind.contents(kind.payload_of(row)) for row in setup.test_rows]
    x = vectors.encoder_of(frozen.row.project).encode(items)
    predicted = artefacts.load_version(frozen.row.model).predict_new(x).argmax(axis=1)
    names = [label.name for label in setup.labels]
    true = np.array([names.index(str(row["label"])) for row in setup.test_rows])
    return float((predicted == true).mean())


def _money(project: Project) -> int:
    human = Annotation.objects.filter(project=project).aggregate(n=Sum("price_micros"))["n"] or 0
    machine = Prediction.objects.filter(prompt__project=project).aggregate(n=Sum("cost_micros"))["n"] or 0
    return int(human + machine)


def add_simulated_annotator(*, project: Project, email: str, name: str, by: User) -> User:
    """Make a simulated person a trusted annotator of the project."""
    user = simulated_user(email, name)
    projects.add_member(project=project, user=user, role=Role.ANNOTATOR, is_trusted=True, by=by)
    return user


def check_noisy_field(rows: list[dict[str, Any]], labels: tuple[projects.NewLabel, ...], field: str) -> None:
    """InvalidInput if `field` gives no row any of the labels: each item would count as failed, without a word."""
    names = {label.name for label in labels}
    said = [recorded_label(row, field) for row in rows]
    if not names & set(said):
        example = next((text for text in said if text is not None), None)
        what = f"for instance {example!r}" if example is not None else "no row has it"
        raise InvalidInput(f"--noisy-field {field} gives no row a label of the data ({what}).")


def check_rows(rows: list[dict[str, Any]], labels: tuple[projects.NewLabel, ...], path: str, kind: str) -> None:
    """InvalidInput if a row of a labeled file is unusable for a simulation; the message says which line and why."""
    names = {label.name for label in labels}
    for line, row in enumerate(rows, start=1):
        try:
            modality(kind).payload_of(row)
        except InvalidInput as error:
            raise InvalidInput(f"{path}, line {line}: {error}.") from None
        if "id" not in row:
            raise InvalidInput(f'{path}, line {line}: has no "id".')
        if row.get("label") not in names:
            raise InvalidInput(f"{path}, line {line}: the label {row.get('label')!r} is not one of the labels.")
