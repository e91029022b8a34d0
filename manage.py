#!/usr/bin/env python
"""Entry point of every command: `python manage.py help`."""

import os
import sys

# Before NumPy or torch load: one thread per process is faster on shared cores and bit-repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
