"""A session of one's own on the Django ORM, and what the conformance checks say of it. Needs no key."""

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


class StoredItem(models.Model):  # noqa: D101, DJ008
    session_id = models.CharField(max_length=200, db_index=True)
    item = models.TextField()  # JSONField does not keep the order of keys on every database
    objects = models.Manager()

    class Meta:  # noqa: D106
        app_label = "openai_sessions"


with connection.schema_editor() as editor:
    editor.create_model(StoredItem)


class DjangoSession:  # noqa: D101
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
            if (await self._rows.filter(pk=newest.pk).adelete())[0]:  # by this call, and by no other
                return json.loads(newest.item)
        return None

    async def clear_session(self) -> None:
        await self._rows.adelete()


if __name__ == "__main__":
    make, reopen = lambda: DjangoSession(uuid4().hex), lambda session: DjangoSession(session.session_id)
    print(asyncio.run(check_session(make, reopen=reopen)))
