"""A plain HTTP client of the emulator, which returns statuses and bodies as they are sent."""

from tests.wire import HTTP_FAMILY

KEY = "sk-on-the-wire"


class Wire:
    """A client in process; each request returns the status and the parsed body."""

    def __init__(self, emulator, *, key=KEY):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.http = HTTP_FAMILY.AsyncClient(
            transport=HTTP_FAMILY.ASGITransport(app=emulator), base_url="http://emulator", headers=headers
        )

    async def send(self, method, path, **options):
        answer = await self.http.request(method, f"/v1{path}", **options)
        return answer.status_code, answer.json()

    async def get(self, path, **params):
        return await self.send("GET", path, params=params)

    async def post(self, path, body, **params):
        return await self.send("POST", path, json=body, params=params)

    async def delete(self, path):
        return await self.send("DELETE", path)

    async def new_conversation(self, *items):
        _, conversation = await self.post("/conversations", {"items": list(items)})
        return conversation["id"]

    async def add(self, conversation_id, *items, **params):
        return await self.post(f"/conversations/{conversation_id}/items", {"items": list(items)}, **params)

    async def add_one(self, conversation_id, item, **params):
        """Add an item and return it as in the response; it must be accepted."""
        status, page = await self.add(conversation_id, item, **params)
        assert status == 200, page
        return page["data"][0]

    async def refusal(self, conversation_id, *items):
        """Add items that must be refused, and return the code and the param of the error."""
        status, answer = await self.add(conversation_id, *items)
        assert status == 400, answer
        return answer["error"]["code"], answer["error"]["param"]

    async def list(self, conversation_id, **params):
        return await self.get(f"/conversations/{conversation_id}/items", **params)

    async def texts(self, conversation_id, **params):
        """Return the texts of the listed messages, which have one part each."""
        _, page = await self.list(conversation_id, **params)
        return [item["content"][0]["text"] for item in page["data"]]


def user(text):
    return {"role": "user", "content": text}


def users(number, *, first=0):
    return [user(str(index)) for index in range(first, first + number)]
