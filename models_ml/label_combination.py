"""The machine label of an item without gold: combines LLM and model by a rule fitted on the reference sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from models_ml.arrays import Bools, Floats, Ints, Matrix
from models_ml.calibration import (
    Combiner,
    apply_temperature,
    fit_combiner,
    fit_temperature,
    safe_log,
    uniform_noise,
)
from models_ml.metrics import item_log_loss
from models_ml.noise.transition import direct_transition, pooled_error, silver_marginal

# The default first; another replaces it only when clearly better. Without a stack there is no blend, and the default is
# the combiner.
RULES = ("blend", "combiner", "llm", "model", "posterior")
# Of the stack in the blend: .6 points on TREC, nothing elsewhere. Chosen on the reference sample it came out as 0 too
# often (docs/decisions/006).
STACK_WEIGHT = 0.5
# With fewer paired items one standard error is itself a guess, and the default stays.
MIN_PAIRED = 20


@dataclass(frozen=True)
class FittedParts:
    """Everything fitted on gold; error and marginal float64[K] make the uniform-noise vector."""

    error: float
    marginal: Matrix
    llm_temperature: float
    model_temperature: float
    combiner: Combiner
    transition: Matrix


@dataclass(frozen=True)
class LabelCombination:
    """A frozen rule from silver and out-of-fold predictions to a distribution over the K classes.

    rule: which of RULES labels the items that have both a valid silver label and a prediction; table:
    how each candidate did in cross-validation (name, log_loss, better_by, standard_error; nats), n: items
    compared; stack_weight: of the stack in the rule "blend", 0 for rules fitted without one.
    """

    n_classes: int
    rule: str
    parts: FittedParts
    table: tuple[dict[str, Any], ...]
    n: int
    stack_weight: float = 0.0

    def posterior(
        self,
        silver: Ints,
        silver_probability: Floats | None = None,
        p_oof: Floats | None = None,
        stack: Floats | None = None,
    ) -> Matrix:
        """Calibrated probabilities float64[N, K].

        silver int[N] (K: no valid answer, -1: never asked); silver_probability float[N, K], NaN rows where
        confidence is unknown; p_oof float[N, K], NaN rows where no model has predicted. Without a prediction the LLM
        speaks alone, without silver the model; where the LLM was asked and failed, the model times Ĉ[:, K], for what
        an LLM refuses is no random choice (real refusals: log-loss .691 against .721, better in 15 of 15 rounds).
        Without both nothing is known, and the row is uniform. The rule "blend" needs stack float[N, K], the
        out-of-fold probabilities of models_ml/stacking.py, and blends it into all rows of which something is known;
        other rules ignore it.
        """
        has_llm, has_model = _present(silver, p_oof, self.n_classes)
        result = np.full((len(silver), self.n_classes), 1.0 / self.n_classes)
        for name, rows in (
            ("combiner" if self.rule == "blend" else self.rule, has_llm & has_model),
            ("llm", has_llm & ~has_model),
            ("model", (silver < 0) & has_model),
            ("posterior", (silver == self.n_classes) & has_model),
        ):
            if rows.any():
                result[rows] = _predict(self.parts, name, *_take(rows, silver, silver_probability, p_oof))
        if self.rule == "blend":
            known = has_llm | has_model
            result[known] = _blend(result[known], _checked(stack, result.shape)[known], self.stack_weight)
        return result

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        p = self.parts
        return {
            "n_classes": self.n_classes,
            "chooser": self.rule,  # its name in what is stored
            "table": list(self.table),
            "n": self.n,
            "error": p.error,
            "marginal": p.marginal.tolist(),
            "llm_temperature": p.llm_temperature,
            "model_temperature": p.model_temperature,
            "combiner": {"a": p.combiner.a, "b": p.combiner.b, "c": p.combiner.c.tolist()},
            "transition": p.transition.tolist(),
            **({"stack_weight": self.stack_weight} if self.stack_weight else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelCombination:
        """Undo to_dict."""
        v, c = values, values["combiner"]
        parts = FittedParts(
            v["error"],
            np.array(v["marginal"], np.float64),
            v["llm_temperature"],
            v["model_temperature"],
            Combiner(c["a"], c["b"], np.array(c["c"], np.float64)),
            np.array(v["transition"], np.float64),
        )
        weight = v.get("stack_weight", 0.0)  # rules that were frozen before there was a stack have none
        return cls(v["n_classes"], v["chooser"], parts, tuple(v["table"]), v["n"], weight)


def fit_label_combination(
    *,
    silver: Ints,
    silver_probability: Floats | None,
    p_oof: Floats | None,
    gold: Ints,
    reference: Bools,
    fold: Ints,
    n_classes: int,
    stack: Floats | None = None,
) -> LabelCombination:
    """Fit the rule on the reference sample and choose the candidate.

    silver int[N] (K: no valid answer, -1: never asked); silver_probability float[N, K] or None, NaN rows
    where confidence is unknown; p_oof float[N, K] out-of-fold probabilities or None, NaN rows where there
    are none; gold int[N] (-1: none) counts only where reference bool[N]; fold int[N] makes the cross-
    validation, and each of its fits (temperatures, combiner, Ĉ) sees only the other folds; stack float[N, K]
    out-of-fold probabilities of a stack, or None where there is too little gold for one. The default, the blend or
    without a stack the combiner, is replaced by the best of the others that are better by more than one standard error
    of the paired difference.
    """
    if stack is not None:
        _checked(stack, (len(silver), n_classes))
    known = np.where(reference, gold, -1)
    data = (silver, silver_probability, p_oof)
    has_llm, has_model = _present(silver, p_oof, n_classes)
    both = has_llm & has_model & (known >= 0)
    parts = _fit(*data, known, n_classes)
    weight = 0.0 if stack is None else STACK_WEIGHT
    if not both.any():
        return LabelCombination(n_classes, _uncompared(has_llm, has_model, stack), parts, (), 0, weight)
    rule, table = _choose(_cross_validate(data, known, both, fold, n_classes, stack))
    return LabelCombination(n_classes, rule, parts, table, int(both.sum()), weight)


def _uncompared(has_llm: Bools, has_model: Bools, stack: Floats | None) -> str:
    """The rule where no item has all that a comparison needs."""
    if not has_model.any():
        return "llm"
    if stack is not None:
        return "blend"
    return "combiner" if has_llm.any() else "model"


def _fit(
    silver: Ints, silver_probability: Floats | None, p_oof: Floats | None, gold: Ints, n_classes: int
) -> FittedParts:
    """All fits on items with gold >= 0; labels of the other items never enter."""
    has_llm, has_model = _present(silver, p_oof, n_classes)
    known = gold >= 0
    valid = np.where(has_llm, gold, -1)
    error = pooled_error(valid, silver)
    marginal = silver_marginal(np.where(has_llm, silver, -1), n_classes)[:n_classes]
    marginal = marginal / marginal.sum()
    raw = FittedParts(error, marginal, 1.0, 1.0, Combiner(0.5, 0.5, np.zeros(n_classes)), np.empty(0))
    take = has_llm & known & _confident(silver_probability, len(silver))
    log_llm = _log_llm(raw, *_take(take, silver, silver_probability, None)[:2])
    llm_temperature = fit_temperature(log_llm, gold[take])
    take = has_model & known
    log_model = safe_log(p_oof[take]) if p_oof is not None else np.empty((0, n_classes))
    model_temperature = fit_temperature(log_model, gold[take])
    scaled = FittedParts(error, marginal, llm_temperature, model_temperature, raw.combiner, raw.transition)
    take = has_llm & has_model & known
    logs = _logs(scaled, *_take(take, silver, silver_probability, p_oof))
    return FittedParts(
        error,
        marginal,
        llm_temperature,
        model_temperature,
        fit_combiner(*logs, gold[take]),
        direct_transition(gold, silver, n_classes),
    )


def _predict(
    parts: FittedParts, name: str, silver: Ints, silver_probability: Floats | None, p_oof: Floats | None
) -> Matrix:
    """The candidate's distribution for items that have what it needs. float64[n, K]."""
    if name == "llm":
        return np.exp(_log_llm(parts, silver, silver_probability))
    if name == "model":
        return np.exp(_log_model(parts, p_oof))
    if name == "posterior":
        log_likelihood = np.log(parts.transition.T[silver])
        return np.asarray(softmax(_log_model(parts, p_oof) + log_likelihood, axis=1), np.float64)
    return parts.combiner(*_logs(parts, silver, silver_probability, p_oof))


def _logs(
    parts: FittedParts, silver: Ints, silver_probability: Floats | None, p_oof: Floats | None
) -> tuple[Matrix, Matrix]:
    return _log_llm(parts, silver, silver_probability), _log_model(parts, p_oof, len(silver))


def _log_llm(parts: FittedParts, silver: Ints, silver_probability: Floats | None) -> Matrix:
    """log p_llm of items with a valid label, calibrated; uniform-noise where the confidence is unknown."""
    log_p = safe_log(uniform_noise(silver, parts.error, parts.marginal))
    rows = np.flatnonzero(_confident(silver_probability, len(silver)))
    if silver_probability is not None and len(rows):
        z = safe_log(silver_probability[rows])
        log_p[rows] = safe_log(apply_temperature(z, parts.llm_temperature))
    return log_p


def _log_model(parts: FittedParts, p_oof: Floats | None, n: int = 0) -> Matrix:
    if p_oof is None:
        return np.zeros((n, len(parts.marginal)))
    return safe_log(apply_temperature(safe_log(p_oof), parts.model_temperature))


def _cross_validate(
    data: tuple[Ints, Floats | None, Floats | None],
    gold: Ints,
    both: Bools,
    fold: Ints,
    n_classes: int,
    stack: Floats | None = None,
) -> dict[str, Matrix]:
    """Log-loss per compared item and candidate, everything fitted without the item's fold; the default first."""
    losses = {name: np.zeros(len(gold)) for name in RULES[stack is None :]}
    for f in np.unique(fold[both]):
        parts = _fit(*data, np.where(fold == f, -1, gold), n_classes)
        held = both & (fold == f)
        p = {name: _predict(parts, name, *_take(held, *data)) for name in RULES[1:]}
        if stack is not None:
            p["blend"] = _blend(p["combiner"], stack[held], STACK_WEIGHT)
        for name, loss in losses.items():
            loss[held] = item_log_loss(p[name], gold[held])
    return {name: loss[both] for name, loss in losses.items()}


def _blend(posterior: Floats, stack: Floats, weight: float) -> Matrix:
    """The weighted mean of two log-probabilities as a distribution, float64[n, K]."""
    return np.asarray(softmax((1 - weight) * safe_log(posterior) + weight * safe_log(stack), axis=1), np.float64)


def _checked(stack: Floats | None, shape: tuple[int, ...]) -> Floats:
    """ValueError unless the stack has a finite probability for each item and class."""
    if stack is None:
        raise ValueError('The rule "blend" needs the predictions of the stack.')
    if stack.shape != shape or not np.isfinite(stack).all():
        raise ValueError("The stack must have a finite probability for each item and class.")
    return stack


def _choose(losses: dict[str, Matrix]) -> tuple[str, tuple[dict[str, Any], ...]]:
    """The default, which comes first, or the best of those that beat it by more than one standard error."""
    best = next(iter(losses))
    default, n = losses[best], len(losses[best])
    table, best_gain = [], 0.0
    for name, loss in losses.items():
        gain = default - loss
        mean = float(gain.mean())
        error = float(gain.std(ddof=1) / np.sqrt(n)) if n > 1 else None
        table.append(
            {
                "name": name,
                "log_loss": float(loss.mean()),
                "better_by": mean,
                "standard_error": error,
            }
        )
        if n >= MIN_PAIRED and error is not None and mean > error and mean > best_gain:
            best, best_gain = name, mean
    return best, tuple(table)


def _present(silver: Ints, p_oof: Floats | None, n_classes: int) -> tuple[Bools, Bools]:
    """Which items have a valid silver label, and which a prediction."""
    has_llm = (silver >= 0) & (silver < n_classes)
    has_model = np.zeros(len(silver), np.bool_) if p_oof is None else np.isfinite(p_oof).all(axis=1)
    return has_llm, np.asarray(has_model, np.bool_)


def _confident(silver_probability: Floats | None, n: int) -> Bools:
    if silver_probability is None:
        return np.zeros(n, np.bool_)
    return np.asarray(np.isfinite(silver_probability).all(axis=1), np.bool_)


def _take(
    rows: Bools, silver: Ints, silver_probability: Floats | None, p_oof: Floats | None
) -> tuple[Ints, Floats | None, Floats | None]:
    return (
        silver[rows],
        None if silver_probability is None else silver_probability[rows],
        None if p_oof is None else p_oof[rows],
    )
