"""Projects for the browser tests, made through the product's own functions in a process of its own.

`python -m tests.e2e.prepare loop|pages|uploads` with a site's settings; prints what the tests need as JSON.
"""

import csv
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "annotate" / "demo"
PASSWORD = "correct horse battery"

# Texts that break pages: no place to break a line, other directions, markup, much of it, next to nothing.
AWKWARD = (
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 4,
    "https://example.org/" + "a" * 300 + "?next=" + "b" * 200,
    "متى ستصل بطاقتي الجديدة؟ لقد طلبتها منذ أسبوعين ولم تصل بعد.",
    "מתי יגיע הכרטיס החדש שלי? הזמנתי אותו (card) לפני שבועיים.",
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><style>*{color:red}</style>",
    "{{ 7 }} {% debug %} ${7*7} <b>bold</b> &amp; &lt;i&gt;",
    "Line one\n\n\n    indented, then a tab\there\nand an end",
    "👩‍👩‍👧‍👦 " * 40,
    "word " * 600,
    "?",
)
GUIDELINES = f"""# Read me first

Long words: {"Guidelines" * 20}

| a | very | wide | table | with | many | columns | that | never | ends | at | all |
|---|---|---|---|---|---|---|---|---|---|---|---|
| 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 |

```
{"code " * 60}
```

<script>document.title = 'owned'</script> and [a link](javascript:alert(1)).
"""


def main() -> None:
    django.setup()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"loop": loop, "pages": pages, "uploads": uploads}[sys.argv[1]](Path(folder))))


def loop(folder: Path) -> dict[str, Any]:
    """Two pre-labeled projects with a round of 30 waiting: one for Ann alone, one for two people."""
    people = {name: user(name) for name in ("olga", "ann", "ben")}
    for slug, overlap in (("alone", 1), ("together", 2)):
        project = banking(folder, slug, by=people["olga"], n=70, overlap=overlap)
        join(project, people, ("ann", "ben"))
        work(project, people["olga"], "prelabel")
        draw(project, 30, by=people["olga"])
    return {"password": PASSWORD, "truth": {row["text"]: row["label"] for row in demo_rows(70)}}


def pages(folder: Path) -> dict[str, Any]:
    """A project in mid-loop with awkward texts, an empty one, one of pairs, one of 77 labels."""
    from annotate import projects
    from annotate.accounts import invitations, passwords, tokens
    from annotate.labeling import leases
    from annotate.models import Project, Run
    from benchmarks.site import session_cookie

    people = {name: user(name) for name in ("olga", "ann", "ravi", "vera")}
    sara = user("sara", is_site_owner=True)
    rich = mid_loop(folder, people)
    later = GUIDELINES.replace("Read me first", "Read me at last") + "\n" + "Late" * 60
    projects.set_guidelines(project=rich, markdown=later, by=people["olga"])
    make(folder, "empty", ["yes", "no"], [], people, name="Nothing here yet")
    pairs = [{"id": str(i), "text_a": text, "text_b": AWKWARD[-1 - i]} for i, text in enumerate(AWKWARD)]
    pair = make(folder, "pairs", ["same", "different"], pairs, people, modality="pair")
    texts = [{"id": str(i), "text": text} for i, text in enumerate(AWKWARD)]
    many = make(folder, "many-labels", [f"intent_{i}_of_a_customer" for i in range(76)] + ["بطاقة"], texts, people)
    for project in (rich, pair, many):
        leases.lease_next(project=project, annotator=people["ann"], n=3)
    tokens.create(by=people["olga"], name="Nightly import of " + "Bankgeschäftsvorfälle" * 3, scope="manage")
    dispute = disagree(folder, people, texts)
    files = send(people["olga"], rich, Project.objects.get(slug="disputed"))
    connection = pay(folder, people, sara, texts)
    run_of = {"train": {"kind": "train"}, "errored": {"state": "errored"}, "running": {"state": "running"}}
    ids = {name: Run.objects.filter(project=rich, **which).latest("pk").public_id for name, which in run_of.items()}
    return {
        "sessions": {name: session_cookie(person) for name, person in (people | {"sara": sara}).items()},
        "runs": ids
        | files
        | shut(people, rich)
        | {"dispute": dispute, "item": rich.items.earliest("pk").public_id, "connection": connection.public_id},
        "invitation": invitations.invite(
            project=rich, role="annotator", by=people["olga"], email="new@example.org", by_hand=True
        )[1],
        "reset": passwords.make_link(user=people["vera"], by=people["olga"])[1],
    }


def shut(people: dict[str, Any], rich: Any) -> dict[str, str]:
    """Mails that were not sent, and a deactivated account that owns a project; what addresses name of them."""
    from django.utils import timezone

    from annotate import projects
    from annotate.accounts import addresses, invitations
    from annotate.models import AddressLink, Invitation, PasswordReset

    failed = {"mail_state": "failed", "mail_problem": "The mail server was not reached, or did not answer in time."}
    made, _ = invitations.invite(project=rich, role="viewer", by=people["olga"], email="late@example.org", by_hand=True)
    Invitation.objects.filter(pk=made.pk).update(mailed_to=made.email, **failed)
    until, olga, proof = timezone.now() + timedelta(days=1), people["olga"], "proof-of-olga"
    for model, token, more in ((AddressLink, proof, {}), (PasswordReset, "x", {"created_by": olga})):
        fields = {"user": olga, "token_sha256": addresses.digest(token), "mailed_to": olga.email, "expires_at": until}
        model.objects.create(**fields, **more, **failed)
    gone = user("gone")
    projects.create(name="Left behind", slug="left", labels=[projects.NewLabel(name) for name in "ab"], by=gone)
    gone.is_active = False
    gone.save()
    addresses.vouch(user=people["ann"], by=None)
    return {"proof": proof, "heir": people["ann"].public_id, "owner": olga.public_id, "gone": gone.public_id}


def uploads(folder: Path) -> dict[str, Any]:
    """Two projects without items."""
    from benchmarks.site import session_cookie

    people = {name: user(name) for name in ("olga", "ann", "ravi", "vera")}
    for slug in ("one", "another"):
        make(folder, slug, ["yes", "no"], [], people)
    return {"sessions": {"olga": session_cookie(people["olga"])}}


def send(by: Any, project: Any, stopped: Any) -> dict[str, str]:
    """Uploads of awkward rows and of a picture, and in `stopped` an import that stands half way; their public ids."""
    from annotate.imports import uploads
    from annotate.models import Import

    columns = ["uid", "Review", "label", "machine", "a column with a name " + "without_an_end" * 12]
    rows = [[str(n), text, ("card_arrival", "none such")[n % 2], "x" * 90, text] for n, text in enumerate(AWKWARD)]
    table = io.StringIO()
    csv.writer(table, delimiter=";").writerows([columns, *rows, ["1", "the same id", "card_arrival", "", ""], ["9"]])
    sent = [
        uploads.receive(project=at, by=by, file_name=name, chunks=[content])
        for at, name, content in (
            (project, "Überaus_lange_Namen_" * 7 + "<b>.csv", table.getvalue().encode("cp1252", "replace")),
            (project, "picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(99)),
            (stopped, "half.csv", b"text\none\n"),
        )
    ]
    options = {"fields": {"content": {}, "id": None, "gold": None, "silver": None, "confidence": None}, "dialect": {}}
    Import.objects.create(
        project=stopped, upload=sent[2], file_name="half_" * 30, file_sha256="0", options=options, created_by=by
    )
    return {"upload": sent[0].public_id, "unreadable": sent[1].public_id}


def disagree(folder: Path, people: dict[str, Any], texts: list[dict[str, str]]) -> str:
    """A project whose people disagree on everything, one question decided; the address of one that waits."""
    from annotate.labeling import adjudication, leases
    from annotate.labeling import answers as answering
    from annotate.models import QueueEntry

    project = make(folder, "disputed", ["yes", "no", "perhaps_" * 12], texts, people, overlap=2)
    entries = list(QueueEntry.objects.filter(round__project=project).select_related("item").order_by("pk"))
    for entry in entries:
        for index, name in enumerate(("ann", "ravi")):
            lease = leases.lease(entry=entry, annotator=people[name])
            answer = answering.Answer(label=index, comment=AWKWARD[index], is_flagged=index == 0)
            key = f"disputed-{entry.pk}-{name}"
            answering.submit(lease_id=lease.public_id, project=project, answer=answer, key=key, by=people[name])
    adjudication.adjudicate(
        project=project, round_index=1, item=entries[0].item.public_id, label=None, reason=AWKWARD[1], by=people["olga"]
    )
    return f"1/{entries[1].item.public_id}"


def pay(folder: Path, people: dict[str, Any], sara: Any, texts: list[dict[str, str]]) -> Any:
    """A project that pays a server, paused near its cap, every kind of failure met; returns the connection."""
    from annotate.models import Run
    from annotate.money import budgets, ledger
    from annotate.silver import connections, prompts
    from models_ml.types import Failure, FailureKind

    olga = people["olga"]
    settings = {"base_url": f"https://{'llm' * 20}.example.org/v1", "model": "Modell/" + "Bankgeschäfte" * 8,
                "input_price_micros": 150_000, "output_price_micros": 600_000, "key": "sk-" + "k" * 20}  # fmt: skip
    made = connections.create(name="Server " + "Rechenzentrum" * 5, by=sara, **settings)
    other = {**settings, "input_price_micros": None, "base_url": "https://other.example.org/v1"}
    waiting = connections.create(name="No price yet", by=sara, **other)
    rows = [{"id": f"{row['id']}-{copy}", "text": f"{row['text']} {copy}"} for copy in range(6) for row in texts]
    project = make(folder, "paid", ["yes", "no"], rows, people, human_price_micros=50_000)
    for one in (made, waiting):
        connections.lend(connection=one, project=project, by=sara)
    connections.choose(project=project, connection=made, by=olga)
    budget = budgets.set_cap(project=project, kind="machine", cap_micros=100_000, by=olga)
    prompt = prompts.version(**prompts.of_connection(project, made, connections.endpoint_of(made)))
    sentence = "Paused: the cap of 0.10 USD for machines is reached. Raise the cap to go on."
    run = Run.objects.create(project=project, kind="prelabel", state="paused", started_by=olga, message=sentence)
    items = list(project.items.order_by("pk")[:55])
    kinds = list(FailureKind)
    answers = [Failure(kinds[place % len(kinds)], "It failed.") for place in range(len(items))]
    prompts.store(prompt=prompt, items=items, answers=answers)
    entries = ledger.reserve(budget, [ledger.Ask(1_700, item.pk) for item in items], run=run, prompt=prompt)
    unanswered = "The server did not answer within 60 s. " + "x" * 80
    for place, entry in enumerate(entries[:50]):
        lost = ledger.End(entry, ledger.State.WRITTEN_OFF, reason=unanswered)
        ledger.end(budget, [ledger.End(entry, ledger.State.SETTLED, 1_603, 1_234, 1) if place % 7 else lost])
    return made


def mid_loop(folder: Path, people: dict[str, Any]) -> Any:
    """One round answered, trained, estimated and exported; a second one half way; runs of every state."""
    from annotate.errors import Conflict
    from annotate.imports import ingest
    from annotate.models import Run
    from annotate.models.base import database_now

    olga = people["olga"]
    project = banking(folder, "rich", by=olga, n=70, name="Rich " + "Bankgeschäftsvorfallsbezeichnung" * 3)
    join(project, people)
    broken = folder / "broken.jsonl"
    broken.write_text("".join(f"{line}\n" for line in ("{", '{"id": 1}', json.dumps({"id": "x", "text": ""}))))
    ingest.import_items(project=project, path=broken, by=olga)
    awkward = [{"id": f"awkward-{i}", "text": text} for i, text in enumerate(AWKWARD)]
    ingest.import_items(project=project, path=write(folder, "awkward", awkward), by=olga)
    work(project, olga, "prelabel")
    draw(project, 24, by=olga)
    answer(project, people["ravi"], leave=0)
    for kind in ("close", "train", "export"):
        work(project, olga, kind)
    draw(project, 30, by=olga)
    answer(project, people["ravi"], leave=12, skip_every=4)
    with suppress(Conflict):
        work(project, olga, "close")  # fails: questions are open
    now = database_now()
    ended = {"started_at": now, "finished_at": now, "started_by": olga}
    trace = "Traceback\n" + "  " + "long line " * 40
    Run.objects.create(project=project, kind="prelabel", state="errored", message="MemoryError()", trace=trace, **ended)
    alive = {"lease_until": now + timedelta(hours=1), "heartbeat_at": now, "host": "elsewhere", "pid": 1}
    Run.objects.create(
        project=project, kind="estimate", state="running", step="Estimating", n_done=300, n_total=1000,
        started_at=now, started_by=olga, **alive,
    )  # fmt: skip
    return project


def banking(folder: Path, slug: str, *, by: Any, n: int, **settings: Any) -> Any:
    """The demo's labels and its first n questions."""
    from annotate import projects
    from annotate.imports import ingest
    from annotate.management.commands.create_project import read_json

    labels = projects.parse_labels(read_json(DEMO / "labels.json"))
    settings = {"name": slug.capitalize(), "human_price_micros": 50_000, "audit_target": 20, **settings}
    project = projects.create(slug=slug, labels=labels, by=by, seed=1, key=bytes(32), **settings)
    text = GUIDELINES if slug == "rich" else (DEMO / "guidelines.md").read_text(encoding="utf-8")
    projects.set_guidelines(project=project, markdown=text, by=by)
    rows = [{"id": row["id"], "text": row["text"]} for row in demo_rows(n)]
    ingest.import_items(project=project, path=write(folder, slug, rows), by=by)
    return project


def make(
    folder: Path, slug: str, labels: list[str], rows: list[dict[str, Any]], people: dict[str, Any], **settings: Any
) -> Any:
    """A project with a round of all its items and no machine."""
    from annotate import projects
    from annotate.imports import ingest
    from benchmarks.web_project import open_round

    by = people["olga"]
    made = projects.create(
        **{"name": slug, "slug": slug, "labels": [projects.NewLabel(name) for name in labels], "by": by, **settings}
    )
    join(made, people)
    if rows:
        ingest.import_items(project=made, path=write(folder, slug, rows), by=by)
        open_round(made, by, len(rows))
    return made


def user(name: str, **fields: Any) -> Any:
    from annotate.models import User

    return User.objects.create_user(f"{name}@example.org", PASSWORD, name=name.capitalize(), **fields)


def join(project: Any, people: dict[str, Any], names: Sequence[str] = ("ann", "ravi", "vera")) -> None:
    from annotate import projects
    from annotate.models.project import Role

    roles = {"ann": Role.ANNOTATOR, "ben": Role.ANNOTATOR, "ravi": Role.REVIEWER, "vera": Role.VIEWER}
    for name in names:
        projects.add_member(
            project=project, user=people[name], role=roles[name], is_trusted=name != "vera", by=people["olga"]
        )


def draw(project: Any, batch: int, *, by: Any) -> None:
    from annotate import rounds

    rounds.draw_round(project=project, batch=batch, by=by)


def answer(project: Any, person: Any, *, leave: int, skip_every: int = 0) -> None:
    """Answer the open round rightly where the truth is known; some skipped, some flagged with a comment."""
    from annotate import projects
    from annotate.labeling import answers as answering
    from annotate.labeling import leases
    from annotate.models import QueueEntry

    truth = {row["id"]: row["label"] for row in demo_rows(70)}
    labels = {label.name: label for label in projects.current_schema(project).labels.all()}
    waiting = list(QueueEntry.objects.filter(round__project=project, round__state="open").order_by("position"))
    for number, entry in enumerate(waiting[: len(waiting) - leave], start=1):
        lease = leases.lease(entry=entry, annotator=person)
        index = labels[truth.get(entry.item.external_id, "card_arrival")].index
        said: dict[str, Any] = {"label": index}
        if skip_every and number % skip_every == 0:
            said = {"skip_reason": "unclear"}
        if skip_every and number % skip_every == 1:
            said |= {"is_flagged": True, "comment": AWKWARD[number % len(AWKWARD)][:4000]}
        key = f"{project.slug}-{entry.pk}"
        answering.submit(
            lease_id=lease.public_id, project=project, answer=answering.Answer(seconds=2.0, **said), key=key, by=person
        )


def work(project: Any, by: Any, kind: str) -> None:
    """What a worker does with a run of this kind, here and now."""
    from annotate import tasks
    from annotate.runs import lifecycle

    tasks.enqueue(kind=kind, project=project, by=by)
    run = lifecycle.claim_next()
    assert run is not None
    with lifecycle.taken_up(public_id=run.public_id, attempt=run.attempt) as attempt:
        tasks.perform(attempt)


def demo_rows(n: int) -> list[dict[str, str]]:
    lines = (DEMO / "banking77.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:n]]


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
