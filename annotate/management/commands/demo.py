"""manage.py demo: make the demo project, and leave it in mid-loop."""

import secrets
import time
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings

from annotate import files, projects, rounds, simulation
from annotate.dataset import export
from annotate.errors import Conflict
from annotate.formats import jsonl
from annotate.imports import ingest
from annotate.learning import delivery, estimation, training
from annotate.management.base import GoldloopCommand
from annotate.management.commands.create_project import read_json
from annotate.management.tables import money, table
from annotate.models import Estimate, Import, Member, Project, QueueEntry, Round, User
from annotate.models.event import record
from annotate.models.project import Role
from annotate.reports import progress
from annotate.silver import prelabel

_DATA = Path(settings.BASE_DIR) / "annotate" / "demo"
_SLUG = "demo-banking"
_ROUNDS, _BATCH, _WAITING_BATCH = 2, 150, 30
_DOMAIN = "demo.example"  # reserved: nobody's mail


class Command(GoldloopCommand):
    help = (
        "Run the loop once on a small project (banking77, 12 intents) with simulated people, and leave it in mid-loop "
        "with a round of 30 questions waiting. Started again it goes on where it was and does nothing twice. Prints "
        "one sign-in per role, with passwords that are new each time; `make demo` then opens the site."
    )
    takes_project = False

    def run(self, options: dict[str, Any]) -> None:
        started = time.monotonic()
        self.by = _owner()
        self.project = self._project()
        self._step("import", self._import)
        self._step("pre-label", self._prelabel)
        rows = [self._figures("after pre-labeling", None)]
        for index in range(1, _ROUNDS + 1):
            self._step(f"round {index}", lambda index=index: self._round(index))
            self._step("train", lambda index=index: self._train(index))
            self._step("estimate", self._estimate)
            rows.append(self._figures(f"after round {index}", index))
        manifest = self._step("export", self._export)
        rows += [self._figures(f"after round {index}", index) for index in self._rounds_of_people()]
        self._step("people", self._leave_a_round_waiting)
        self._show(rows, manifest, time.monotonic() - started)
        self._show_sign_ins()

    def _step(self, name: str, work):  # type: ignore[no-untyped-def]
        started = time.monotonic()
        text, result = work()
        self.say(f"  {name:<10} {text}  ({time.monotonic() - started:.1f} s)")
        return result

    def _project(self) -> Project:
        project = Project.objects.filter(slug=_SLUG).first()
        if project:
            self.say(f"The demo project {_SLUG} exists; going on where it is.")
            return project
        labels = projects.parse_labels(read_json(_DATA / "labels.json"))
        # A fixed key and seed, so that everybody sees the same figures; real projects get random ones.
        project = projects.create(
            name="Banking questions (demo)",
            slug=_SLUG,
            labels=labels,
            by=self.by,
            key=b"a demonstration, so no secret key",
            seed=1,
            is_simulated=True,
            human_price_micros=50_000,
        )
        projects.set_guidelines(
            project=project, markdown=(_DATA / "guidelines.md").read_text(encoding="utf-8"), by=self.by
        )
        self.say(f"Made the project {_SLUG}: {len(labels)} labels. People are simulated: they answer from the data.")
        return project

    def _import(self) -> tuple[str, None]:
        source = self.project.imports.filter(state=Import.State.COMPLETE).first()
        if source is None:
            show = self.progress("Importing", "rows")
            source = ingest.import_items(project=self.project, path=self._questions_only(), by=self.by, show=show)
        return (
            f"{source.n_items:,} questions of bank customers, {source.n_duplicates} duplicates merged",
            None,
        )

    def _questions_only(self) -> Path:
        """Write the demo's items without their labels, which the product must not see; returns the file."""
        path = Path(settings.VAR_DIR) / "demo-questions.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = ({"id": row["id"], "text": row["text"]} for row in _rows())
        files.write_whole(path, (orjson.dumps(row) + b"\n" for row in rows))
        return path

    def _prelabel(self) -> tuple[str, None]:
        prompt = prelabel.prelabel(
            project=self.project,
            by=self.by,
            show_encoding=self.progress("Reading the items", "items"),
            show=self.progress("Pre-labeling", "items"),
        )
        n = prompt.predictions.current().count()
        return f"{n:,} silver labels by the offline annotator, no network, no money", None

    def _round(self, index: int) -> tuple[str, None]:
        current = self.project.rounds.filter(index=index).first()
        if current is None:
            current = rounds.draw_round(project=self.project, batch=_BATCH, by=self.by)
        if current.state == Round.State.OPEN:
            truth = {str(row["id"]): str(row["label"]) for row in _rows()}
            simulation.SimulatedPerson(self._annotator(), truth).answer_round(current)
            current = rounds.close_round(project=self.project, by=self.by)
        arms = ", ".join(
            f"{current.draws.filter(arm=arm).count()} {arm}"
            for arm in sorted(set(current.draws.values_list("arm", flat=True)))
        )
        return f"{current.queue.count()} questions answered by a simulated person ({arms})", None

    def _annotator(self) -> User:
        return simulation.add_simulated_annotator(
            project=self.project, email="demo-annotator@goldloop.invalid", name="Demo annotator", by=self.by
        )

    def _train(self, index: int) -> tuple[str, None]:
        model = self.project.model_versions.filter(version=index).first()
        if model is None:
            model = training.train(project=self.project, by=self.by, show=self.progress("Training", "fits"))
        facts = model.metrics
        return f"{model} on {facts['n_gold']} gold and {facts['n_silver']:,} corrected silver labels", None

    def _estimate(self) -> tuple[str, None]:
        rows = estimation.estimate(project=self.project, by=self.by)
        delivered = next(row for row in rows if row.estimand == Estimate.Estimand.DELIVERED)
        return f"delivered labels from {delivered.n} audited items outside A", None

    def _export(self) -> tuple[str, Path]:
        frozen = delivery.current(project=self.project, by=self.by)
        manifest = export.stored_manifest(frozen.row)
        if export.verify_export(manifest):
            manifest = export.export(delivered=frozen.row, by=self.by)
        return f"{frozen.row.n_pool:,} rows as JSON Lines and CSV", manifest

    def _rounds_of_people(self) -> list[int]:
        """The rounds after the simulated ones that people closed."""
        later = self.project.rounds.filter(index__gt=_ROUNDS, state=Round.State.CLOSED)
        return list(later.order_by("index").values_list("index", flat=True))

    def _leave_a_round_waiting(self) -> tuple[str, None]:
        current = self.project.rounds.filter(state=Round.State.OPEN).first()
        if current is None:
            try:
                current = rounds.draw_round(project=self.project, batch=_WAITING_BATCH, by=self.by)
            except Conflict as reason:  # every item was asked: the demo has come to its end
                return str(reason), None
        n_open = current.queue.filter(state=QueueEntry.State.OPEN).count()
        return f"round {current.index}: {n_open} of {current.queue.count()} questions wait for people", None

    def _figures(self, when: str, index: int | None) -> list[str]:
        """A line of the table: the newest estimates after round `index`, with the labels and the money so far."""
        now = progress.progress(self.project)
        if index is None:
            return [when, "not audited yet", "-", "-", "0", money(0, self.project)]
        rows = Estimate.objects.filter(project=self.project, round__index=index, label__isnull=True).order_by("-id")
        cells = [
            _cell(next((row for row in rows if row.estimand == name), None)) for name in ("llm", "model", "delivered")
        ]
        n_labels = self.project.annotations.filter(
            entry__round__index__lte=index, is_current=True, label__isnull=False
        ).count()
        paid = n_labels * self.project.human_price_micros + now.machine_micros
        return [when, *cells, str(n_labels), money(paid, self.project)]

    def _show(self, rows: list[list[str]], manifest: Path, seconds: float) -> None:
        self.say("")
        self.say(table([["", "LLM", "model", "delivered", "labels", "money"], *rows]))
        self.say("  Accuracy with its 95 % interval, from the audit sample only. People and prices are simulated.")
        self.say("")
        self.say(f"The exported dataset: {manifest.parent}")
        self.say(f"  {manifest.name} says what every figure and column means.")
        self.say(f"Where the loop stands: .venv/bin/python manage.py status {_SLUG}")
        self.say(f"Done in {seconds:.0f} s. Data: banking77 (PolyAI, CC BY 4.0), see annotate/demo/ATTRIBUTION.md")

    def _show_sign_ins(self) -> None:
        """Set and print a new password for each of the demo's people: only their hashes are stored."""
        people = [self.by, *(self._member(role) for role in (Role.ANNOTATOR, Role.REVIEWER, Role.VIEWER))]
        self.say("")
        self.say("Sign in as one of these; the passwords are new at each start of the demo:")
        for person in people:
            password = "-".join(secrets.token_hex(2) for _ in range(4))
            person.set_password(password)
            person.save(update_fields=["password"])
            role = Member.objects.get(project=self.project, user=person).role
            self.say(f"  {person.email:<24} {password}   {role}")

    def _member(self, role: str) -> User:
        user = _person(role)
        if not Member.objects.filter(project=self.project, user=user).exists():
            # Trusted where they answer: one answer of theirs is gold, as the demo's rule asks.
            is_trusted = role != Role.VIEWER
            projects.add_member(project=self.project, user=user, role=role, is_trusted=is_trusted, by=self.by)
        return user


def _owner() -> User:
    owner = User.objects.filter(memberships__project__slug=_SLUG, memberships__role=Role.OWNER).first()
    if owner is None:
        owner = _person(Role.OWNER)
        owner.is_site_owner = True  # so that whoever tries the demo can register an LLM server, too
        owner.save(update_fields=["is_site_owner"])
        record("site_owner.made", project=None, by=None, user=owner.public_id)
    return owner


def _person(role: str) -> User:
    email = f"{role}@{_DOMAIN}"
    return User.objects.filter(email=email).first() or User.objects.create_user(email, name=f"Demo {role}")


def _cell(row: Estimate | None) -> str:
    if row is None or row.value is None or row.low is None or row.high is None:
        return "no figure"
    return f"{row.value:.1%} ({row.low:.1%}-{row.high:.1%})"


def _rows() -> list[dict[str, Any]]:
    path = _DATA / "banking77.jsonl"
    with jsonl.opened(path) as file:
        return [jsonl.parse(line) for _, line, _ in jsonl.lines(file)]
