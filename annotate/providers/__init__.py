"""Decides what may leave this machine: one guarded HTTP client, and the client of LLM servers on top of it."""
