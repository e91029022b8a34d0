"""Computes the machine label of each item of a project from silver, the champion's predictions, and a stack of both."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotate import vectors as item_vectors
from annotate.labels import LabelHistory
from annotate.learning import artefacts, pool
from annotate.models import ModelVersion, Project, PromptVersion
from annotate.models.project import Arm
from annotate.runs import lifecycle
from models_ml.arrays import Array, Bools, Floats, Matrix
from models_ml.label_combination import LabelCombination, fit_label_combination
from models_ml.stacking import Stack, fit_stack


@dataclass(frozen=True)
class Given:
    """What labels are computed from, besides the rows of items and gold.

    rule: a frozen one, to be applied instead of one fitted here; has_stack: False for versions frozen without one.
    """

    project: Project
    history: LabelHistory
    prompt: PromptVersion | None
    model: ModelVersion | None
    rule: LabelCombination | None = None
    has_stack: bool = True


def compute(
    given: Given, items: pool.Pool, show: lifecycle.Show | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a delivered version's file, and what else decided them, as JSON.

    With a stack the file holds its predictions and, as `stack_gold`, the gold that it learned from: its classifiers
    follow from that, silver and vectors.
    """
    history = given.history
    silver, gold = pool.load_silver(items, given.prompt, history), pool.load_gold(items, history)
    x = _inputs(given, items, show)
    p_oof = _out_of_fold(given, items, x)
    stack = _stack(items, silver, gold, x) if given.has_stack else None
    p_stack = None if stack is None else stack.probabilities
    combination = given.rule or fit_label_combination(
        silver=silver.label,
        silver_probability=silver.probabilities,
        p_oof=p_oof,
        gold=gold.blind_trainable,  # never what an audit draw obtained (S-2)
        reference=pool.sample(items, history, Arm.RANDOM),
        fold=items.fold,
        n_classes=silver.n_classes,
        stack=p_stack,
    )
    posterior = combination.posterior(silver.label, silver.probabilities, p_oof, p_stack)
    arrays = _arrays(items, silver, p_oof, posterior, pool.is_selected(items, given.project))
    if p_stack is not None:
        arrays |= {"stack": p_stack, "stack_gold": gold.trainable.astype(np.int16)}
    return arrays, {**combination.to_dict(), **_stack_facts(stack), **_how_far(history)}


def _stack_facts(stack: Stack | None) -> dict[str, Any]:
    return {} if stack is None else {"stack": {"l2": list(stack.l2), "n_gold": stack.n_gold}}


def _how_far(history: LabelHistory) -> dict[str, float]:
    """How far the reference sample was complete when Ĉ was fitted; nothing where all of it was."""
    cutoff = history.schema.reference_cutoff
    return {} if cutoff is None else {"reference_cutoff": cutoff}


def _inputs(given: Given, items: pool.Pool, show: lifecycle.Show | None) -> Array | None:
    """(N, d) the items' vectors; None without a model, for then nothing looks at them."""
    if given.model is None:
        return None
    return np.ascontiguousarray(item_vectors.vectors_of(given.project, show)[items.ordinal])


def _out_of_fold(given: Given, items: pool.Pool, x: Array | None) -> Floats | None:
    """(N, K) out-of-fold predictions by the model, for items imported after its training too; None without one."""
    if given.model is None or x is None:
        return None
    predicted = artefacts.load_version(given.model).predict_out_of_fold(x, items.fold)
    return given.history.map_from(given.model.schema_id).predictions(predicted)


def _stack(items: pool.Pool, silver: pool.SilverLabels, gold: pool.GoldLabels, x: Array | None) -> Stack | None:
    """The stack beside a model, from the gold that trains, never the audit's (S-2); None without a model."""
    if x is None:
        return None
    return fit_stack(
        x=x,
        silver=silver.label,
        silver_probability=silver.probabilities,
        gold=gold.trainable,
        fold=items.fold,
        n_classes=silver.n_classes,
    )


def _arrays(
    items: pool.Pool,
    silver: pool.SilverLabels,
    p_oof: Floats | None,
    posterior: Matrix,
    in_a: Bools,
) -> dict[str, NDArray[Any]]:
    """The arrays of the frozen file; label -1 and probability NaN where neither LLM nor model has given a label."""
    is_valid = (silver.label >= 0) & (silver.label < silver.n_classes)
    known = is_valid if p_oof is None else np.ones(len(items), dtype=bool)
    label = np.where(known, posterior.argmax(axis=1) if len(items) else 0, pool.NO_LABEL)
    probability = np.where(known, posterior.max(axis=1, initial=0), np.nan)
    model_label = np.full(len(items), pool.NO_LABEL)
    model_probability = np.full(len(items), np.nan)
    if p_oof is not None and len(items):
        model_label, model_probability = p_oof.argmax(axis=1), p_oof.max(axis=1)
    return {
        "ordinal": items.ordinal,
        "label": label.astype(np.int16),
        "probability": probability.astype(np.float32),
        "posterior": posterior.astype(np.float32),
        "model_label": model_label.astype(np.int16),
        "model_probability": model_probability.astype(np.float32),
        "in_a": in_a.astype(np.uint8),
    }
