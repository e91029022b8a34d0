"""How machine labels err, and objectives that correct for it."""
