"""Decides what a backup holds and how a site is put back from it: `taking.take`, `checking.check`, `restoring.restore`.

A backup is one tar file: manifest.json, its checksum, the database, the secrets, and the stored files.
"""
