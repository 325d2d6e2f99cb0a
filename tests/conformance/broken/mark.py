"""How a broken session names the checks that must catch it."""


def caught_by(*names):
    def mark(session_class):
        session_class.caught_by = names
        return session_class

    return mark
