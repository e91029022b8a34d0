"""Whatever people do in whatever order: slots add up, nothing acknowledged is lost, gold follows its rule.

Random walks over leases and answers, with a clock that the walk moves. What was acknowledged is
kept in plain lists; after every step the rows must say the same.
"""

import itertools
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from annotate import items, projects, rounds, verification
from annotate.errors import AccessDenied, Conflict, LeaseLost
from annotate.labeling import answers, leases, suggestions, visibility
from annotate.models import Annotation, Budget, Draw, Gold, Item, Lease, QueueEntry, Round
from annotate.models.project import ALWAYS_BLIND, Arm, GoldRule
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_items

N_ITEMS = 6
PRICE = 7
ARMS = [Arm.ACTIVE, Arm.START, Arm.AUDIT, Arm.RANDOM]
PEOPLE = st.integers(0, 2)
LABELS = ["yes", "no", "skip"]
# What `verify` says of the walk; its samples are drawn by hand and follow no random number.
CHECKS = [
    "answers stay within the overlap",
    "one current answer per person and item",
    "states follow from the answers",
    "leases end with their round",
    "counted answers had a lease",
    "blind questions show nothing",
    "gold ends for a reason",
    "answers that agree have gold",
    "gold stands in answers",
    "money adds up",
    "each attempt to spend ends once",
    "people were paid what was settled",
]
ANY = st.integers(0, 10**6)  # one of what there is, modulo


@dataclass
class Acknowledged:
    """One answer that the product said it has stored."""

    pk: int
    key: str
    lease_id: str
    entry: int
    person: int
    label: int | None
    is_counted: bool
    is_blind: bool
    is_change: bool


class Labeling(RuleBasedStateMachine):
    """Three people and a round of six questions; each walk ends with a rollback."""

    project = None
    people = ()

    def __init__(self):
        super().__init__()
        self.block = transaction.atomic()
        self.block.__enter__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.said: list[Acknowledged] = []
        self.leases: dict[str, tuple[int, int]] = {}  # public id -> (index of the person, entry)
        self.seen: set[tuple[int, int]] = set()
        self.keys = itertools.count()

    def teardown(self):
        try:
            assert [problem for name in CHECKS if (problem := self.problem(name))] == []
        finally:
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    @initialize(
        overlap=st.integers(1, 2),
        gold_rule=st.sampled_from(GoldRule.values),
        arms=st.lists(st.sampled_from(ARMS), min_size=2, max_size=N_ITEMS),  # few: then people take over
        price=st.sampled_from([0, PRICE]),
        cap=st.sampled_from([None, PRICE - 1, 3 * PRICE, 5 * PRICE + 1, 100 * PRICE]),
    )
    def draw(self, overlap, gold_rule, arms, price, cap):
        self.project.refresh_from_db()
        self.project.human_price_micros = price
        Budget.objects.filter(project=self.project, kind="human").update(cap_micros=cap)
        self.project.overlap, self.project.gold_rule, self.project.agree_k = overlap, gold_rule, overlap
        self.project.save()
        self.round = Round.objects.create(
            project=self.project, index=1, batch=N_ITEMS, shares={}, strategy="margin", seed=1
        )
        self.arm = {}
        for place, (item, arm) in enumerate(zip(Item.objects.filter(project=self.project), arms, strict=False), 1):
            shown = self.project.suggestion_for({arm})
            entry = QueueEntry.objects.create(
                round=self.round,
                item=item,
                position=place,
                overlap=overlap,
                is_blind=shown != "shown",
                suggestion=shown,
            )
            Draw.objects.create(project=self.project, item=item, round=self.round, arm=arm, reason="at random")
            self.arm[entry.pk] = arm
        self.overlap, self.gold_rule = overlap, gold_rule

    # What people do

    @rule(who=PEOPLE, n=st.integers(1, 3), skip_one=st.booleans())
    def lease_next(self, who, n, skip_one):
        done = [lease for lease, (holder, _) in self.leases.items() if holder == who][-1:] if skip_one else []
        held = leases.lease_next(project=self.project, annotator=self.people[who], n=n, done=done, now=self.now)
        assert all(lease.annotator_id == self.people[who].pk and lease.public_id not in done for lease in held)
        assert all(lease.expires_at > self.now and lease.ended_at is None for lease in held)
        assert all(lease.entry.item.withdrawn_at is None for lease in held)
        self.remember(who, held)

    @rule(who=PEOPLE, which=ANY)
    def lease(self, who, which):
        entry = QueueEntry.objects.select_related("round__project").get(pk=self.pick(sorted(self.arm), which))
        with suppress(Conflict):
            self.remember(who, [leases.lease(entry=entry, annotator=self.people[who], now=self.now)])

    @rule(who=PEOPLE, n=st.integers(1, 3), name=st.sampled_from(LABELS))
    def work(self, who, n, name):
        """The usual way: get some, answer the first."""
        held = leases.lease_next(project=self.project, annotator=self.people[who], n=n, now=self.now)
        self.remember(who, held)
        if held:
            assert self.speak(answers.submit, held[0].public_id, name, is_change=False).is_counted

    @precondition(lambda self: self.leases)
    @rule(which=ANY, name=st.sampled_from(LABELS), newest=st.booleans())
    def submit(self, which, name, newest):
        lease_id = self.pick(list(self.leases)[-3:] if newest else list(self.leases), which)
        row = Lease.objects.get(public_id=lease_id)
        is_held = row.ended_at is None  # run out or not: held until somebody else needs the question
        stored = self.speak(answers.submit, lease_id, name, is_change=False)
        assert stored.is_counted == is_held

    @precondition(lambda self: self.said)
    @rule(which=ANY, name=st.sampled_from(LABELS))
    def change(self, which, name):
        before = self.pick(self.said, which)
        current = self.current().get((before.person, before.entry))
        try:
            stored = self.speak(answers.change, before.lease_id, name, is_change=True)
        except Conflict:
            assert self.is_closed() or (current.label is None and name != "skip")
        else:
            assert stored.is_counted == current.is_counted

    @precondition(lambda self: self.said)
    @rule(which=ANY)
    def replay(self, which):
        first = self.pick(self.said, which)
        door = answers.change if first.is_change else answers.submit
        name = next(name for name in LABELS if self.label_of[name] == first.label)
        assert self.send(door, first.lease_id, name, first.key).pk == first.pk
        other = LABELS[(LABELS.index(name) + 1) % len(LABELS)]
        with pytest.raises(Conflict, match="key was used before"):
            self.send(door, first.lease_id, other, first.key)

    @precondition(lambda self: self.leases)
    @rule(which=ANY)
    def look(self, which):
        """See the machine's label of the item, on whatever page."""
        who, entry = self.leases[self.pick(list(self.leases), which)]
        item = QueueEntry.objects.get(pk=entry).item_id
        assert visibility.record_seen(items=[item], by=self.people[who])
        self.seen.add((who, entry))

    @precondition(lambda self: self.leases)
    @rule(which=ANY)
    def ask_why(self, which):
        """Open after the round only; what arrives late from somebody who has asked is not blind."""
        lease_id = self.pick(list(self.leases), which)
        who, entry = self.leases[lease_id]
        with suppress(AccessDenied):
            suggestions.why(lease_id=lease_id, project=self.project, by=self.people[who], now=self.now)
            assert self.is_closed()
            self.seen.add((who, entry))

    @precondition(lambda self: self.leases)
    @rule(which=ANY)
    def show(self, which):
        lease_id = self.pick(list(self.leases), which)
        with suppress(LeaseLost):
            leases.shown(lease_id=lease_id, by=self.people[self.leases[lease_id][0]], now=self.now)

    @rule(who=PEOPLE, n=st.integers(0, 3))
    def give_back(self, who, n):
        mine = [lease for lease, (holder, _) in self.leases.items() if holder == who][-n:] if n else []
        leases.release(project=self.project, by=self.people[who], public_ids=mine, now=self.now)

    @rule(who=PEOPLE)
    def heartbeat(self, who):
        mine = [lease for lease, (holder, _) in self.leases.items() if holder == who]
        leases.renew(project=self.project, by=self.people[who], public_ids=mine, now=self.now)

    @rule(share=st.sampled_from([0.01, 0.6, 1.1]))
    def wait(self, share):
        self.now += timedelta(seconds=share * django_settings.ANSWER_LEASE_SECONDS)

    @rule(which=ANY)
    def withdraw(self, which):
        if which % 8 == 5:  # seldom, or nothing else would be left to try
            item = self.pick(
                sorted(Item.objects.filter(project=self.project).values_list("public_id", flat=True)), which
            )
            if Item.objects.filter(public_id=item, withdrawn_at__isnull=True).exists():
                items.withdraw(project=self.project, by=self.people[0], public_ids=[item])

    @rule(which=ANY)
    def close(self, which):
        if which % 16 == 11 and not self.is_closed():
            rounds.close_round(project=self.project, by=self.people[0], force=True)

    # What must be true after each step

    @invariant()
    def slots_add_up(self):
        active = Counter(Lease.objects.filter(ended_at__isnull=True).values_list("entry_id", flat=True))
        labeled = Counter(row.entry for row in self.current().values() if row.is_counted and row.label)
        for entry, n_taken, overlap in QueueEntry.objects.values_list("pk", "n_taken", "overlap"):
            assert n_taken == active[entry] + labeled[entry] <= overlap

    @invariant()
    def money_adds_up(self):
        budget = Budget.objects.get(project=self.project, kind="human")
        n_active = Lease.objects.filter(ended_at__isnull=True).count()
        n_paid = Annotation.objects.filter(price_micros__gt=0).count()
        assert budget.reserved_micros == n_active * self.project.human_price_micros
        assert budget.settled_micros == n_paid * self.project.human_price_micros
        assert budget.cap_micros is None or budget.spent_micros + budget.reserved_micros <= budget.cap_micros
        assert self.problem("money adds up") is None

    @invariant()
    def nothing_acknowledged_is_lost(self):
        fields = ("pk", "idempotency_key", "entry_id", "annotator_id", "label_id", "is_counted", "is_blind")
        stored = Annotation.objects.order_by("pk").values_list(*fields, "is_current")
        current = {row.pk for row in self.current().values()}
        assert list(stored) == [
            (
                row.pk,
                row.key,
                row.entry,
                self.people[row.person].pk,
                row.label,
                row.is_counted,
                row.is_blind,
                row.pk in current,
            )
            for row in self.said
        ]

    @invariant()
    def gold_follows_the_rule(self):
        gold = {}
        for entry, label, is_blind, origin in Gold.objects.current().values_list(
            "item__queue_entries", "label_id", "is_blind", "origin"
        ):
            gold[entry] = label
            assert origin == self.arm[entry]
            assert is_blind or self.arm[entry] not in ALWAYS_BLIND
        wanted = {entry: self.expected_gold(entry) for entry in getattr(self, "arm", {})}
        assert gold == {entry: label for entry, label in wanted.items() if label}

    # The plain model

    def expected_gold(self, entry):
        now = [row for (_, asked), row in self.current().items() if asked == entry and row.is_counted and row.label]
        evidence = now
        if self.arm[entry] != Arm.ACTIVE:  # all but these hide the machine's answer at first
            last = {row.person: row for row in self.said if row.entry == entry and row.is_counted and row.is_blind}
            evidence = [row for row in last.values() if row.label]
        if max(len(now), len(evidence)) < self.overlap:
            return None
        heads = defaultdict(set)
        for row in evidence:
            if self.gold_rule == GoldRule.AGREE_K or row.person < 2:  # the third is not trusted
                heads[row.label].add(row.person)
        enough = 1 if self.gold_rule == GoldRule.ONE_TRUSTED else self.overlap
        if self.gold_rule == GoldRule.ONE_TRUSTED and len(heads) > 1:
            return None
        agreed = [label for label, people in heads.items() if len(people) >= enough]
        return agreed[0] if len(agreed) == 1 else None

    def current(self):
        """What each person says now of each question, by (person, entry)."""
        current = {}
        for row in self.said:
            place = (row.person, row.entry)
            if place not in current or row.is_counted or row.is_change:
                current[place] = row
        return current

    def speak(self, door, lease_id, name, *, is_change):
        key = f"key {next(self.keys)}"
        stored = self.send(door, lease_id, name, key)
        who, entry = self.leases[lease_id]
        blind = self.arm[entry] != Arm.ACTIVE and (who, entry) not in self.seen
        label = self.label_of[name]
        self.said.append(Acknowledged(stored.pk, key, lease_id, entry, who, label, stored.is_counted, blind, is_change))
        return stored

    def send(self, door, lease_id, name, key):
        index = LABELS.index(name)
        answer = answers.Answer(skip_reason="unclear") if name == "skip" else answers.Answer(label=index)
        by = self.people[self.leases[lease_id][0]]
        return door(lease_id=lease_id, project=self.project, answer=answer, key=key, by=by, now=self.now)

    def remember(self, who, held):
        for lease in held:
            self.leases[lease.public_id] = (who, lease.entry_id)

    def problem(self, name):
        return verification.first_problem(verification.CHECKS[name], self.project)

    def is_closed(self):
        return not Round.objects.filter(state=Round.State.OPEN).exists()

    @staticmethod
    def pick(things, which):
        return things[which % len(things)]


@pytest.mark.django_db
@pytest.mark.parametrize("n_walks", [20, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])])
def test_whatever_people_do_the_rows_add_up(n_walks):
    project = make_project(suggestion_policy={"active": "shown", "start": "revealed", "conflict": "hidden"})
    make_items(project, N_ITEMS)
    Labeling.project = project
    Labeling.people = (owner_of(project), make_member(project), make_member(project, "Ben", is_trusted=False))
    schema = projects.current_schema(project)
    Labeling.label_of = {"skip": None, **dict(schema.labels.values_list("name", "pk"))}
    # The rules are searched on SQLite; on PostgreSQL, where it is the slowest test, only that the statements hold.
    n = n_walks if connection.vendor == "sqlite" else n_walks // 5
    walks = settings(
        max_examples=n,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=n_walks < 100,  # every run walks the same ways, the slow suite new ones
    )
    run_state_machine_as_test(Labeling, settings=walks)
