"""Sessions that are each broken in one way, with the checks that must say so."""

from tests.conformance.broken import concurrency, history, items, limits, sharing

BROKEN = {
    session_class: vars(session_class)["caught_by"]
    for module in (history, limits, items, sharing, concurrency)
    for session_class in vars(module).values()
    if isinstance(session_class, type) and "caught_by" in vars(session_class)
}
