"""Secrets in the archive, apart, or encrypted; and fingerprints that tell which are the right ones."""

import pytest

from annotate.backups import secrets
from annotate.errors import Conflict, FileDamaged, InvalidInput
from annotate.silver.secrets import new_key

SECRETS = {"SECRET_KEY": "x" * 50, "FIELD_ENCRYPTION_KEYS": "k" * 44}

pytestmark = pytest.mark.usefixtures("keys_in_a_temporary_folder")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """As few rounds as scrypt allows."""
    monkeypatch.setitem(secrets._SCRYPT, "n", 2)
    monkeypatch.setitem(secrets._QUICK, "n", 2)


def test_a_passphrase_opens_them():
    content = secrets.sealed(SECRETS, "correct horse battery")
    assert b"xxxx" not in content
    assert secrets.is_encrypted(content)
    assert secrets.unsealed(content, "correct horse battery") == SECRETS


def test_another_passphrase_does_not():
    with pytest.raises(InvalidInput, match="does not open"):
        secrets.unsealed(secrets.sealed(SECRETS, "correct horse battery"), "wrong horse battery")


def test_none_does_not():
    with pytest.raises(InvalidInput, match="give the passphrase"):
        secrets.unsealed(secrets.sealed(SECRETS, "correct horse battery"), None)


def test_open_ones_need_none():
    assert secrets.unsealed(secrets.sealed(SECRETS, None), None) == SECRETS


@pytest.mark.parametrize(
    "content",
    [b"[]", b"", b"\xff", b"3", b'{"secrets": 3}', b'{"secrets": {"SECRET_KEY": 3}}', b'{"secrets": null}']
    + [b'{"encrypted": []}', b'{"encrypted": {"salt": "", "nonce": ""}}', b'{"encrypted": 1, "secrets": {}}']
    + [b'{"encrypted": {"salt": "A", "nonce": "", "data": ""}}', b'{"encrypted": {"salt": 1, "nonce": 1, "data": 1}}']
    + [b'{"encrypted": {"salt": "", "nonce": "AAAA", "data": ""}}', secrets.sealed([1], None)],
)  # fmt: skip
def test_other_files_are_refused(content):
    with pytest.raises(FileDamaged, match="holds no secrets"):
        secrets.unsealed(content, "a passphrase")


def test_what_a_passphrase_opens_must_be_secrets():
    for other in ([1], {"SECRET_KEY": 1}, None):
        with pytest.raises(FileDamaged, match="holds no secrets"):
            secrets.unsealed(secrets.sealed(other, "correct horse battery"), "correct horse battery")


def test_their_file_is_for_its_owner_and_never_replaced(tmp_path):
    path = tmp_path / "secrets"
    secrets.write_new(path, b"1")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict, match="already"):
        secrets.write_new(path, b"2")


class TestFingerprints:
    def test_the_same_key_in_a_file_or_the_environment_is_the_right_one(self, settings, tmp_path):
        key = new_key()
        (tmp_path / "encryption_key").write_text(key)
        described = secrets.description()
        (tmp_path / "encryption_key").unlink()
        assert secrets.missing(described, {}) == ["FIELD_ENCRYPTION_KEYS"]
        assert secrets.missing(described, {"FIELD_ENCRYPTION_KEYS": key}) == []
        settings.FIELD_ENCRYPTION_KEYS = [new_key(), key]
        assert secrets.missing(described, {}) == []

    def test_another_key_in_the_environment_is_told_although_the_archive_has_the_right_one(self, settings, tmp_path):
        key = new_key()
        (tmp_path / "encryption_key").write_text(key)
        described = secrets.description()
        settings.FIELD_ENCRYPTION_KEYS = [new_key()]
        assert secrets.missing(described, {"FIELD_ENCRYPTION_KEYS": key}) == ["FIELD_ENCRYPTION_KEYS"]

    def test_others_than_those_of_a_site_are_passed_over(self):
        named = {"variable": "HOME", "from": "file", "fingerprints": ["00"]}
        assert secrets.missing({"salt": "AAAA", "in_force": [named]}, {}) == []

    def test_keys_of_the_environment_are_not_taken(self, settings, tmp_path, monkeypatch):
        (tmp_path / "encryption_key").write_text(new_key())
        (tmp_path / "secret_key").write_text("s")
        assert secrets.in_files().keys() == {"SECRET_KEY", "FIELD_ENCRYPTION_KEYS"}
        settings.FIELD_ENCRYPTION_KEYS = [new_key()]
        monkeypatch.setenv("SECRET_KEY", "s")
        assert secrets.in_files() == {}
