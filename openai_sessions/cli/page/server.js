/** Requests to the server. The API key, if it requires one, is kept in this module until the page is left. */

let key = null;

/** The server requires a key, or rejected the one in use. */
export class KeyNeeded extends Error {}

/** The conversation was not found. */
export class NotThere extends Error {}

/** Use this key from now on. */
export function useKey(given) {
  key = given;
}

/** Return whether a key is in use. */
export function hasKey() {
  return key !== null;
}

async function ask(path, query = {}) {
  const headers = key === null ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`/page/data/${path}?${new URLSearchParams(query)}`, { headers, cache: "no-store" });
  if (answer.status === 401) throw new KeyNeeded();
  if (answer.status === 404) throw new NotThere();
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer.json();
}

/** Return the versions of the server, its conversations and its requests. */
export const state = () => ask("state");

/** Return the newest conversations. */
export const conversations = (limit) => ask("conversations", { limit });

/** Return the items after a position; `have` is the number of items up to there. */
export const items = (id, after, have) =>
  ask(`conversations/${encodeURIComponent(id)}/items`, { after, have });

/** Return the requests after a sequence number. */
export const requests = (after) => ask("requests", { after });
