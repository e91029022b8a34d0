"""What leaves this machine: one guarded way out, and the client of LLM servers behind it. Knows no database."""
