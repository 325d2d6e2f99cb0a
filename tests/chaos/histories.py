"""Operations that a history is made of."""

from tools.chaos.judging import Operation


def operation(name, started, ended, **facts):
    facts.setdefault("conversations", frozenset({"conv_0"}))
    return Operation(number=started, name=name, session="0", started=started, ended=ended, **facts)


def add(texts, *, started=1, ended=2, **facts):
    return operation("add", started, ended, added=tuple(texts), **facts)
