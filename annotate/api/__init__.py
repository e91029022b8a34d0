"""The REST API, version 1: thin views over the same domain functions as the pages, for programs with a token."""
