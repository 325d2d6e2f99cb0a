"""Write a session class on the Django ORM, and run the conformance checks on it. Needs no key and Django."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import django
from django.conf import settings
from django.db import connection, models

from openai_sessions.testing import check_session

DATABASE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:sessions?mode=memory&cache=shared"}
settings.configure(DATABASES={"default": DATABASE})
django.setup()


class StoredItem(models.Model):
    """One item of a history."""

    session_id = models.CharField(max_length=200, db_index=True)
    item = models.TextField()  # JSONField does not keep the order of keys on every database
    objects = models.Manager()

    class Meta:
        """The app that the table belongs to."""

        app_label = "openai_sessions"

    def __str__(self) -> str:
        return f"an item of {self.session_id}"


with connection.schema_editor() as editor:
    editor.create_model(StoredItem)


class DjangoSession:
    """Store a history in a table, one item per row."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self._rows = StoredItem.objects.filter(session_id=session_id)

    async def get_items(self, limit: int | None = None) -> list[Any]:
        newest = self._rows.order_by("-pk")[: None if limit is None else max(0, limit)]
        return [json.loads(row.item) async for row in newest][::-1]

    async def add_items(self, items: list[Any]) -> None:
        rows = [StoredItem(session_id=self.session_id, item=json.dumps(item)) for item in items]
        await StoredItem.objects.abulk_create(rows)  # in one transaction

    async def pop_item(self) -> Any:
        while newest := await self._rows.order_by("-pk").afirst():
            if (await self._rows.filter(pk=newest.pk).adelete())[0]:  # no other process has deleted it
                return json.loads(newest.item)
        return None

    async def clear_session(self) -> None:
        await self._rows.adelete()


if __name__ == "__main__":
    make, reopen = lambda: DjangoSession(uuid4().hex), lambda session: DjangoSession(session.session_id)
    print(asyncio.run(check_session(make, reopen=reopen)))
