"""Values of options as all benchmarks read them."""


def seeds_of(text: str) -> list[int]:
    """'5' means 1 to 5, '101-110' the range with both ends, '7,9' these two."""
    if "," in text:
        return [int(part) for part in text.split(",")]
    first, _, last = text.rpartition("-")
    return list(range(int(first or 1), int(last) + 1))


def numbers_of(text: str) -> list[float]:
    """'0,.2,.4': these numbers."""
    return [float(part) for part in text.split(",")]
