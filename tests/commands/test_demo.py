"""`make demo` as a newcomer gets it: whole, twice, and still true."""

import json
import os

import pytest

from tests.processes import run_manage

pytestmark = [
    pytest.mark.only_on("sqlite"),  # slow, and about processes rather than rows
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, database_url):
    """(run a command in the demo's own folder, that folder)."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "VAR_DIR": str(folder), "FILES_DIR": str(folder / "files")}
    environment["DATABASE_URL"] = database_url

    def manage(*arguments):
        done = run_manage(*arguments, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return manage, folder


def test_it_runs_the_loop_and_a_second_start_does_nothing_twice(demo):
    manage, folder = demo
    first = manage("demo")
    for step in ("import", "pre-label", "round 1", "round 2", "train", "estimate", "export", "round 3"):
        assert step in first
    before = json.loads(manage("status", "demo-banking", "--json"))
    exported = {path.name: path.read_bytes() for path in (folder / "exports" / "demo-banking").iterdir()}
    second = manage("demo")
    assert json.loads(manage("status", "demo-banking", "--json")) == before
    assert {path.name: path.read_bytes() for path in (folder / "exports" / "demo-banking").iterdir()} == exported
    table = [line for line in first.splitlines() if "after round" in line]
    assert table
    assert table == [line for line in second.splitlines() if "after round" in line]
    assert (before["n_answers"], before["n_waiting"]) == (300, 30)
    assert "everything that was checked holds" in manage("verify", "demo-banking")


@pytest.mark.slow
def test_its_models_can_be_made_again_bit_for_bit(demo):
    manage, _ = demo
    manage("demo")
    assert "simulated" in manage("status", "demo-banking")
    assert "everything that was checked holds" in manage("verify", "demo-banking", "--rebuild")


def sign_ins(said):
    """(role, e-mail, password) as printed at the end."""
    lines = [line.split() for line in said.splitlines() if "@demo.example" in line]
    return [(role, email, password) for email, password, role in lines]


@pytest.mark.slow
def test_everybody_it_names_can_sign_in_with_the_newest_password_only(demo):
    manage, _ = demo
    old, new = sign_ins(manage("demo")), sign_ins(manage("demo"))
    assert [role for role, _, _ in new] == ["owner", "annotator", "reviewer", "viewer"]
    ask = "from django.contrib.auth import authenticate; "
    for (_, email, expired), (_, _, password) in zip(old, new, strict=True):
        ask += f"assert authenticate(username={email!r}, password={password!r}), {email!r}; "
        ask += f"assert not authenticate(username={email!r}, password={expired!r}), {email!r}; "
    manage("shell", "-c", ask)


@pytest.mark.slow
def test_it_goes_on_after_people_answered_and_closed_the_waiting_round(demo):
    manage, _ = demo
    manage("demo")
    manage(
        "shell",
        "-c",
        "from annotate import rounds; from annotate.models import Project, User; "
        "from tests.factories import answer_round, owner_of; project = Project.objects.get(); "
        "person = User.objects.get(email='annotator@demo.example'); "
        "label = project.schemas.get().labels.first().name; "
        "answer_round(project, label, by=person); rounds.close_round(project=project, by=owner_of(project))",
    )
    closed = manage("demo")
    assert "after round 3" in closed
    assert "round 4: 30 of 30 questions wait for people" in closed
    now = json.loads(manage("status", "demo-banking", "--json"))
    assert (now["n_answers"], now["n_waiting"]) == (330, 30)
    assert "round 4: 30 of 30 questions wait" in manage("demo")
    assert "everything that was checked holds" in manage("verify", "demo-banking")
