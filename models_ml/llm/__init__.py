"""Annotators: machines that label items by themselves."""
