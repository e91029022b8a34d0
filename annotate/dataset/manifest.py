"""Decides what an export's manifest says (counts, checksums, estimates, versions) and checks files against it."""

import csv
from pathlib import Path
from typing import Any

import orjson
from django.utils.translation import gettext as _

from annotate import files
from annotate.dataset.provenance import COLUMNS, Counts
from annotate.errors import InvalidInput
from annotate.models import DeliveredVersion, Estimate

FORMAT = 2  # of the manifest. 1 had fields that were always null, and its CSV was escaped for spreadsheets
READABLE = (1, FORMAT)  # `verify_export` refuses others
_KIND = Estimate.Estimand

_MEANINGS = {
    _KIND.LLM: "share of the LLM's labels that agree with the gold rule; failures count as wrong",
    _KIND.MODEL: "share of the model's out-of-fold labels that agree with the gold rule",
    _KIND.MODEL_NEW_DATA: "share of the model's labels that will agree with the gold rule on new items",
    _KIND.DELIVERED: "share of the delivered labels (gold, else machine) that agree with the gold rule",
    _KIND.PRECISION: "of the items with this machine label, the share that agrees with the gold rule",
    _KIND.RECALL: "of the items whose gold is this label, the share with this machine label",
    _KIND.LOOK: "one-sided lower bound of the delivered accuracy, for stopping",
}


def build(delivered: DeliveredVersion, counts: Counts, written: list[dict[str, Any]]) -> dict[str, Any]:
    """The manifest of an export of `counts` rows in `written` files; the same database state gives the same one."""
    project, prompt, model = delivered.project, delivered.prompt, delivered.model
    estimates = list(delivered.estimates.select_related("label").order_by("id"))
    return {
        "format": FORMAT,
        "project": {"slug": project.slug, "id": project.public_id, "is_simulated": project.is_simulated},
        "delivered_version": delivered.version,
        "frozen_at": delivered.frozen_at.isoformat(),
        "counts": {
            "rows": counts.rows,
            "gold": counts.by_source["gold"],
            "machine": counts.by_source["machine"],
            "unlabeled": counts.by_source[None],
            "by_split": dict(sorted(counts.by_split.items())),
        },
        "files": written,
        "estimates": [_estimate(row) for row in estimates],
        "looks_spent": Estimate.objects.filter(project=project, estimand=_KIND.LOOK).count(),
        "unresolved": next((row.n_unresolved for row in estimates if row.estimand == _KIND.LLM), None),
        "key_commitment": project.key_commitment,
        **_sealed(delivered),
        "labels": [
            {"index": label.index, "name": label.name, "definition": label.definition}
            for label in delivered.schema.labels.order_by("index")
        ],
        "versions": {
            "machine_label_chosen_by": delivered.rule,
            "llm": prompt.model if prompt else None,
            "prompt": prompt.version if prompt else None,
            "model": model.version if model else None,
            "schema": delivered.schema.version,
            "guidelines": prompt.guidelines.version if prompt and prompt.guidelines else None,
        },
        "columns": COLUMNS,
    }


def dump(manifest: dict[str, Any]) -> bytes:
    """The manifest as indented JSON."""
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def verify_export(manifest_path: Path) -> list[str]:
    """Sentences that say how the files beside a manifest differ from it; empty if all are as it says."""
    folder = Path(manifest_path).parent
    try:
        manifest = _read(Path(manifest_path))
    except InvalidInput as error:
        return [str(error)]
    if manifest.get("format") not in READABLE:
        known = " and ".join(map(str, READABLE))
        return [f"{manifest_path} has manifest format {manifest.get('format')!r}; this version knows {known}"]
    n_rows = int(manifest["counts"]["rows"])
    return [problem for entry in manifest["files"] for problem in _file_problems(folder, entry["name"], entry, n_rows)]


def heads(manifest_path: Path) -> list[str]:
    """The head of the chain of seals that the manifest carries, as one hash; none of an older or unreadable one."""
    try:
        sealed = _read(Path(manifest_path)).get("sealed")
    except InvalidInput:
        return []
    head = sealed.get("head") if isinstance(sealed, dict) else None
    return [head] if isinstance(head, str) and head else []


def beside(path: Path) -> tuple[str, ...]:
    """Sentences that say what a manifest in the folder of this data file says of it; none if no manifest names it."""
    for manifest_path in sorted(path.parent.glob("*.manifest.json")):
        try:
            manifest = _read(manifest_path)
        except InvalidInput:
            continue
        sha256 = files.checksum(path)
        checksums = {str(entry.get("sha256")): str(entry["name"]) for entry in manifest["files"]}
        if sha256 not in checksums and path.name not in checksums.values():
            continue
        facts = {"manifest": manifest_path.name, "version": manifest.get("delivered_version")}
        if sha256 in checksums:
            return (_("It is as it was exported: %(manifest)s says so, of version %(version)s.") % facts,)
        return (_("It was changed since it was exported: its checksum differs from %(manifest)s.") % facts,)
    return ()


def _read(path: Path) -> dict[str, Any]:
    """The manifest in this file, of whatever format; InvalidInput if it is none."""
    try:
        manifest = orjson.loads(path.read_bytes())
        int(manifest["counts"]["rows"])
        [entry["name"] for entry in manifest["files"]]
    except OSError as error:
        raise InvalidInput(
            _("%(path)s cannot be read: %(strerror)s") % {"path": path, "strerror": error.strerror}
        ) from error
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(_("%(path)s is no manifest of an export") % {"path": path}) from None
    return manifest


def _sealed(delivered: DeliveredVersion) -> dict[str, Any]:
    """The head of the project's seals at the freeze; nothing where the version is older than seals."""
    if not delivered.sealed_head:
        return {}
    return {"sealed": {"seal": delivered.sealed_sequence, "head": delivered.sealed_head}}


def _estimate(row: Estimate) -> dict[str, Any]:
    return {
        "estimand": row.estimand,
        "label": row.label.name if row.label else None,
        "meaning": _MEANINGS[_KIND(row.estimand)],
        "population": _population(row),
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "n": row.n,
        "n_unresolved": row.n_unresolved,
        "n_had_file": row.n_had_file,
        "share_had_file": row.share_had_file,
        "method": row.method,
        "reason": row.reason,
    }


def _population(row: Estimate) -> str:
    name = repr(row.label.name) if row.label else ""
    if row.estimand == _KIND.MODEL_NEW_DATA:
        return "future items of this source"
    if row.estimand == _KIND.RECALL:
        return f"the items of the pool whose gold is {name}"
    if row.estimand == _KIND.PRECISION:
        return f"the {row.population or 0:,} items of the pool with the machine label {name}"
    return f"all {row.population or 0:,} items of the pool, audited items withdrawn since included as unresolved"


def _file_problems(folder: Path, name: Any, entry: dict[str, Any], n_rows: int) -> list[str]:
    if not isinstance(name, str) or Path(name).name != name:
        return [f"{name!r} is not the name of a file beside the manifest"]
    path = folder / name
    if not path.is_file():
        return [f"{name} is missing"]
    problems = []
    if (size := path.stat().st_size) != entry.get("n_bytes"):
        problems.append(f"{name} has {size:,} bytes, the manifest says {entry.get('n_bytes')}")
    if (sha256 := files.checksum(path)) != entry.get("sha256"):
        problems.append(f"{name} has checksum {sha256}, the manifest says {entry.get('sha256')}")
    if not problems and (found := _count(path)) != n_rows:
        problems.append(f"{name} has {found:,} rows, the manifest says {n_rows:,}")
    return problems


def _count(path: Path) -> int:
    """The number of records in a data file."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="replace") as file:  # rows count, not their bytes
            csv.field_size_limit(1 << 30)
            return sum(1 for _ in csv.reader(file)) - 1
    with path.open("rb") as file:
        return sum(1 for _ in file)
