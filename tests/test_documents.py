"""What documents and code say of each other is true: links, numbers of invariants, sections, names of checks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.verification import CHECKS

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "annotate" / "README.md", ROOT / "models_ml" / "README.md"]
DOCUMENTS = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
INVARIANTS = ROOT / "docs" / "invariants.md"
_CODE = ("annotate", "models_ml", "tests", "benchmarks", "templates", "labelapp")
_ME = Path(__file__).resolve()
_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SECTION = re.compile(r'(docs/[\w/-]+\.md), "([^"\n]+)"')
_PATH = re.compile(r"`((?:annotate|models_ml|tests|benchmarks|docs|templates|static)/[^`\s]*)`")
_DECISION = re.compile(r"docs/decisions/(\d{3})")


def sources() -> Iterator[Path]:
    """Programs and templates that may cite a document; not this file, which cites what does not exist."""
    for folder in _CODE:
        yield from (
            path for path in sorted((ROOT / folder).rglob("*.*")) if path.suffix in (".py", ".html") and path != _ME
        )
    yield from (path for folder in ("static", "static/label") for path in sorted((ROOT / folder).glob("*.js")))


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.M)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(text)}


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links of a document in `folder` that lead to no file, or to no heading of it."""
    return [link for link in _LINK.findall(_FENCED.sub("", text)) if ":" not in link and not _leads(link, text, folder)]


def _leads(link: str, text: str, folder: Path) -> bool:
    name, _, anchor = link.partition("#")
    target = folder / name
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text() if name else text)


def undefined_invariants(text: str) -> set[str]:
    """Numbers such as I-2 or S-1 in `text` that docs/invariants.md gives no section."""
    defined = {heading.split()[0] for heading in headings(INVARIANTS.read_text())}
    return set(re.findall(r"\b[IS]-\d{1,2}\b", text)) - defined


def missing_sections(text: str) -> list[str]:
    """Citations of a document, and of one of its headings, that do not exist."""
    cited = [(ROOT / name, title) for name, title in _SECTION.findall(text)]
    wrong = [title for path, title in cited if not path.is_file() or title not in headings(path.read_text())]
    return wrong + [n for n in _DECISION.findall(text) if not list((ROOT / "docs" / "decisions").glob(f"{n}-*.md"))]


def missing_paths(text: str) -> list[str]:
    """Paths in backticks, from the repository's root, at which nothing lies; patterns (<name>.py) are left out."""
    return [name for name in _PATH.findall(text) if not re.search(r"[<{*…]", name) and not (ROOT / name).exists()]


def unknown_names(text: str) -> list[str]:
    """Names in the last two columns of the glossary's tables that occur nowhere in the code."""
    cells = [line.split(" | ")[2:] for line in text.splitlines() if line.startswith("| ") and "`" in line]
    named = [name for row in cells for name in re.findall(r"`(\w[\w.]*|_\w+)`", " ".join(row))]
    code = "".join(path.read_text() for path in sources() if path.parts[len(ROOT.parts)] in ("annotate", "models_ml"))
    return [name for name in named if not all(part in code for part in name.split("."))]


def missing_places(text: str, folder: Path) -> list[str]:
    """Paths in the last column of a table, from `folder` or the root, and names not defined at their row's paths."""
    missing: list[str] = []
    for cell in re.findall(r"^\|.* \| (.*) \|$", text, re.M):
        words = re.findall(r"`([\w./]+)`", cell)
        places = {word: _place(word, folder) for word in words if re.search(r"/|\.(py|js|css)$", word)}
        missing += [word for word, path in places.items() if not path.exists()]
        code = "\n".join(path.read_text() for path in places.values() if path.is_file())
        names = [word for word in words if word not in places]
        missing += [name for name in names if not re.search(rf"^ *((async )?def |class )?{name}\b[(:\[ ]", code, re.M)]
    return missing


def _place(word: str, folder: Path) -> Path:
    return folder / word if (folder / word).exists() else ROOT / word


_by_name = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@_by_name
def test_paths_lead_somewhere(path):
    assert missing_paths(path.read_text()) == []


def test_names_in_the_glossary_are_those_of_the_code():
    assert unknown_names((ROOT / "docs" / "glossary.md").read_text()) == []


def test_behaviours_lie_where_the_readme_of_annotate_says():
    behaviours = (ROOT / "annotate" / "README.md").read_text().partition("## Behaviours")[2]
    assert behaviours
    assert missing_places(behaviours, ROOT / "annotate") == []


def test_each_room_has_its_line_in_the_readme_of_annotate():
    rooms = (ROOT / "annotate" / "README.md").read_text().partition("## Behaviours")[0]
    named = set(re.findall(r"^\| `(\w+)(?:/|\.py)` \|", rooms, re.M))
    contract = re.search(r"^containers = .*?^layers = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert contract is not None
    assert named == set(re.findall(r"\w+", contract[1]))


@_by_name
def test_links_lead_somewhere(path):
    assert broken_links(path.read_text(), path.parent) == []


def test_invariants_that_are_cited_are_defined():
    found = {path.name: undefined_invariants(path.read_text()) for path in (*sources(), *DOCUMENTS)}
    assert {name: numbers for name, numbers in found.items() if numbers} == {}


def test_sections_that_are_cited_exist():
    found = {path.name: missing_sections(path.read_text()) for path in sources()}
    assert {name: titles for name, titles in found.items() if titles} == {}


class TestInvariants:
    text = " ".join(INVARIANTS.read_text().split())

    @pytest.mark.parametrize("name", CHECKS)
    def test_each_check_of_verify_is_described(self, name):
        assert f'"{name}"' in self.text

    def test_each_described_check_exists(self):
        lines = re.findall(r"- verify: (.*?)(?= - |\n#|$)", self.text)
        assert set(re.findall(r'"([^"]+)"', " ".join(lines))) <= set(CHECKS)

    def test_each_described_constraint_exists(self):
        """Constraints by their names in the models, triggers by theirs in migrations, columns likewise."""
        defined = "".join(path.read_text() for name in ("models", "migrations") for path in _rows(name))
        lines = " ".join(re.findall(r"- database: (.*?)(?= - |$)", self.text))
        names = re.findall(r"`(\w+)`", lines)
        assert names
        assert [name for name in names if name not in defined] == []


def _rows(folder: str) -> Iterator[Path]:
    return (ROOT / "annotate" / folder).glob("*.py")


class TestItself:
    """Each of these checks has been seen to fail."""

    def test_it_sees_a_link_to_nothing(self):
        text = "# One thing\n[a](nowhere.md) [b](#one-thing) [c](#two) [d](README.md) [e](https://example.org)"
        assert broken_links(text, ROOT) == ["nowhere.md", "#two"]

    def test_it_sees_a_link_to_a_heading_of_another_document_that_is_not_there(self):
        assert broken_links("[a](docs/invariants.md#nothing)", ROOT) == ["docs/invariants.md#nothing"]

    def test_it_sees_a_path_to_nothing(self):
        text = (
            "`annotate/access.py` `annotate/nowhere.py` `tests/web/` `models_ml/none/` `annotate/api/<thing>.py` `a/b`"
        )
        assert missing_paths(text) == ["annotate/nowhere.py", "models_ml/none/"]

    def test_it_sees_a_name_that_the_code_does_not_have(self):
        text = "| term | `meant` | in code | stored as |\n| arm | why | `Arm.AUDIT`, `Arm.LEG` | `nobody_has_this` |"
        assert unknown_names(text) == ["Arm.LEG", "nobody_has_this"]

    def test_it_sees_a_behaviour_that_is_not_where_a_table_says(self):
        text = "| who may what | `access.py`: `MAY`, `nobody` |\n| a page | `web/none.py`; `static/label/` |"
        assert missing_places(text, ROOT / "annotate") == ["nobody", "web/none.py"]

    def test_it_sees_an_invariant_without_a_section(self):
        assert undefined_invariants("I-2 and I-98, UTF-8, S-99") == {"I-98", "S-99"}

    def test_it_sees_a_section_that_is_not_there(self):
        text = 'docs/loop.md, "Arms"; docs/loop.md, "Legs"; docs/nothing.md, "Arms"'
        assert missing_sections(text) == ["Legs", "Arms"]

    def test_it_sees_a_decision_that_is_not_there(self):
        assert missing_sections("docs/decisions/006, docs/decisions/999") == ["999"]


CHAMPION = "trained by the same method and settings on more gold"


@pytest.mark.parametrize(
    "place",
    [
        "README.md",
        "docs/loop.md",
        "docs/decisions/006-what-could-be-better.md",
        "annotate/management/commands/train.py",
        "annotate/web/training.py",
    ],
)
def test_when_more_gold_makes_a_champion_is_said_alike_everywhere(place):
    """The rule is annotate/learning/champion.py's; tests/annotate/learning holds it to these words."""
    text = re.sub(r'"\s*\n\s*"|\s+', " ", (ROOT / place).read_text())
    assert CHAMPION in re.sub(r"\s+", " ", text)
