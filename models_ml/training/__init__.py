"""Training of classifiers whose predictions for an item never come from a model that saw it."""
