"""What is damaged, made for harm, or newer, is refused with a sentence before anything is written."""

import random
import tarfile
from dataclasses import replace
from io import BytesIO

import pytest

from annotate.backups import archive
from annotate.backups.checking import check
from annotate.errors import FileDamaged, InvalidInput
from tests.annotate.backups.sites import own_archive, renamed


@pytest.fixture
def made(tmp_path):
    return own_archive(tmp_path / "a.tar")


def test_a_whole_one_passes(made):
    checked = check(made)
    assert checked.manifest.migrations == ["annotate.0001_initial"]
    assert checked.n_older > 0


def test_a_packed_one_passes(tmp_path):
    packed = own_archive(tmp_path / "a.tar.gz")
    assert packed.read_bytes()[:2] == b"\x1f\x8b"
    assert check(packed).manifest.counts == {"projects": 0}


class TestDamage:
    def content_bytes(self, made):
        """The places of the bytes that mean something: heads and contents of members, not what fills blocks up."""
        places = []
        with tarfile.open(made) as tar:
            for member in tar:
                places += [member.offset, member.offset + 100, member.offset_data, member.offset_data + member.size - 1]
                places += range(member.offset_data, member.offset_data + member.size, 997)
        return places

    def test_each_flipped_bit_is_found(self, made):
        whole = made.read_bytes()
        for place in self.content_bytes(made):
            broken = bytearray(whole)
            broken[place] ^= 1 << random.Random(place).randrange(8)
            made.write_bytes(broken)
            with pytest.raises((FileDamaged, InvalidInput)):
                check(made)

    @pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
    @pytest.mark.parametrize("part", [0.0, 0.05, 0.5, 0.9])
    def test_a_part_of_one_is_found(self, tmp_path, name, part):
        path = own_archive(tmp_path / name)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole.rstrip(b"\0")) * part)])
        with pytest.raises(FileDamaged):
            check(path)

    @pytest.mark.parametrize("place", [30, 300, 1_000])
    def test_a_flipped_bit_of_a_packed_one_is_found(self, tmp_path, place):
        path = own_archive(tmp_path / "a.tar.gz")
        broken = bytearray(path.read_bytes())
        broken[place] ^= 4
        path.write_bytes(broken)
        with pytest.raises(FileDamaged):
            check(path)

    def test_swapped_members_are_found(self, tmp_path, monkeypatch):
        made = own_archive(tmp_path / "a.tar")
        with tarfile.open(made) as tar:
            parts = [(member, tar.extractfile(member).read()) for member in tar]
        with tarfile.open(made, "w") as tar:
            (one, _), (other, _) = parts[3], parts[4]
            one.name, other.name = other.name, one.name
            for member, content in parts:
                tar.addfile(member, BytesIO(content))
        with pytest.raises(FileDamaged, match="size|checksum"):
            check(made)

    def test_another_database_than_the_described_is_found(self, tmp_path):
        made = own_archive(
            tmp_path / "a.tar", lambda one: replace(one, migrations=["annotate.0002_append_only_events"])
        )
        with pytest.raises(FileDamaged, match="not the one that the manifest describes"):
            check(made)

    def test_a_database_that_cannot_be_opened_is_found(self, tmp_path):
        content = b"SQLite format 3\0" + b"nothing" * 200

        def with_it(manifest):
            measured = archive.Member("database.sqlite3", *archive.measure(content))
            return replace(manifest, members=[*manifest.members[:-1], measured])

        made = own_archive(tmp_path / "a.tar", with_it, {"database.sqlite3": content})
        with pytest.raises(FileDamaged, match="database in the backup cannot be read"):
            check(made)


class TestHarm:
    @pytest.mark.parametrize(
        "name",
        ["../evil", "files/../../evil", "/etc/evil", "files//evil", "files/./evil", "files/a\\b", "exports/", "evil"],
    )
    def test_names_that_lead_elsewhere_are_refused(self, tmp_path, name):
        made = own_archive(tmp_path / "a.tar", lambda one: renamed(one, "files/uploads/a", name))
        with pytest.raises(FileDamaged, match="no backup holds"):
            check(made)

    @pytest.mark.parametrize(
        "name",
        ["files/.hold", "files/.restoring/x", "exports/a/.b/c", "files/a\n", "files/\x1b[2J", "files/\x85b"]
        + ["files/lost+found", "files/" + 256 * "a", "files/" + 500 * "a/" + "a"],
    )  # fmt: skip
    def test_names_that_the_site_gives_to_no_file_are_refused(self, tmp_path, name):
        made = own_archive(tmp_path / "a.tar", lambda one: renamed(one, "files/uploads/a", name))
        with pytest.raises(FileDamaged, match="no backup holds"):
            check(made)

    @pytest.mark.parametrize("name", ["files/uploads", "files/uploads/a/b"])
    def test_a_file_that_is_also_a_folder_is_refused(self, tmp_path, name):
        made = own_archive(tmp_path / "a.tar", lambda one: renamed(one, "exports/demo/b.csv", name))
        with pytest.raises(FileDamaged, match="twice, or as a file and a folder"):
            check(made)

    def test_names_that_only_begin_alike_pass(self, tmp_path):
        for name in ("files/uploads/a-b", "files/uploads/a.b", "files/uploads/A", "files/upload", "files/Größe 1"):
            check(own_archive(tmp_path / "a.tar", lambda one, name=name: renamed(one, "exports/demo/b.csv", name)))

    @pytest.mark.parametrize(
        "changed",
        [{"secrets": 3}, {"secrets": {}}, {"counts": []}, {"counts": {"a": "b"}}, {"made_at": None}, {"damaged": [1]}]
        + [{"secrets": {"salt": "A", "n_encrypted": 0, "in_force": []}}, {"not_included": 1}, {"migrations": [{}]}],
    )  # fmt: skip
    def test_a_manifest_of_another_form_is_refused(self, tmp_path, changed):
        with pytest.raises(FileDamaged, match="manifest cannot be read"):
            check(own_archive(tmp_path / "a.tar", lambda one: replace(one, **changed)))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_links_and_devices_are_refused(self, made, kind):
        with tarfile.open(made) as tar:
            parts = [(member, tar.extractfile(member).read()) for member in tar]
        with tarfile.open(made, "w") as tar:
            for member, content in parts:
                if member.name == "files/uploads/a":
                    member.type, member.linkname = kind, "/etc/passwd"
                tar.addfile(member, BytesIO(content))
        with pytest.raises(FileDamaged):
            check(made)

    def test_what_the_manifest_does_not_name_is_refused(self, made):
        with tarfile.open(made, "a") as tar:
            tar.addfile(tarfile.TarInfo("files/more"))
        with pytest.raises(FileDamaged, match="does not name"):
            check(made)

    def test_a_member_twice_is_refused(self, made):
        with tarfile.open(made, "a") as tar:
            tar.addfile(tarfile.TarInfo("files/uploads/a"))
        with pytest.raises(FileDamaged, match="does not name"):
            check(made)


class TestOthers:
    def test_a_newer_form_is_refused(self, tmp_path):
        made = own_archive(tmp_path / "a.tar", lambda one: replace(one, format=2))
        with pytest.raises(InvalidInput, match="newer version"):
            check(made)

    def test_a_newer_database_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(
            "annotate.backups.checking.MigrationLoader", lambda _: type("None", (), {"disk_migrations": {}})
        )
        with pytest.raises(InvalidInput, match=r"it has annotate.0001_initial"):
            check(own_archive(tmp_path / "a.tar"))

    @pytest.mark.parametrize("content", [b"", b"not a tar at all" * 100])
    def test_another_file_is_refused(self, tmp_path, content):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(FileDamaged):
            check(tmp_path / "x")

    def test_no_file_is_refused(self, tmp_path):
        with pytest.raises(InvalidInput, match="cannot be read"):
            check(tmp_path / "none")
