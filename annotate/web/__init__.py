"""Pages: one file of function views per page. A view only calls a domain function and shows its result."""
