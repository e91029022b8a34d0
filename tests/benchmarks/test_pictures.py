"""The repository keeps the pictures that README.md shows, and no others."""

from benchmarks.pictures import LOOKS, MOST_BYTES, PAGES, SHOWN, readme_pictures


def test_every_picture_of_the_readme_is_kept_and_no_other():
    assert sorted(readme_pictures()) == sorted(path.name for path in SHOWN.iterdir())


def test_each_can_be_taken_again():
    every = {f"{name}-{look}.webp" for name, _, _ in PAGES for look in LOOKS}
    assert set(readme_pictures()) <= every


def test_they_are_small():
    assert all(path.stat().st_size <= MOST_BYTES for path in SHOWN.iterdir())
