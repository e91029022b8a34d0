"""Texts that CSV, spreadsheets and readers of files stumble over."""

from hypothesis import strategies as st

SIGNS = "=+-@,;\t\r\n'\" \u00a0\u200b\ufeff\u202e\uff1d\uff0d\ufe62ab1é😀"
any_text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
nasty_text = st.text(st.sampled_from(SIGNS), max_size=30) | any_text
