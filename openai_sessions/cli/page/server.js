/** Requests to the server. The API key, if it requires one, is kept in this module until the page is left. */

let key = null;

/** The server requires a key, or rejected the one in use. */
export class KeyNeeded extends Error {}

/** The conversation was not found. */
export class NotThere extends Error {}

/** The server could not read from the API. */
export class Failed extends Error {}

/** Use this key from now on. */
export function useKey(given) {
  key = given;
}

/** Return whether a key is in use. */
export function hasKey() {
  return key !== null;
}

const ERRORS = { 404: NotThere, 502: Failed };

async function ask(path, query = {}, method = "GET") {
  const headers = key === null ? {} : { authorization: `Bearer ${key}` };
  const address = `page/data/${path}?${new URLSearchParams(query)}`; // below the path of the page
  const answer = await fetch(address, { method, headers, cache: "no-store" });
  if (answer.status === 401) throw new KeyNeeded();
  if (!answer.ok) throw new (ERRORS[answer.status] ?? Error)((await answer.json()).error);
  return answer.json();
}

/** Return the versions of the server, its conversations and its requests. */
export const state = () => ask("state");

/** Have the server forget what it has read from the API. */
export const forgetRead = () => ask("refresh", {}, "POST");

/** Return the first conversations of the list. */
export const conversations = (limit) => ask("conversations", { limit });

/** Return the items after a position; `have` is the number of items up to there. */
export const items = (id, after, have) => itemsOf(id, { after, have });

/** Return the items before a position, which the server reads from the API if need be. */
export const olderItems = (id, before) => itemsOf(id, { before });

const itemsOf = (id, query) => ask(`conversations/${encodeURIComponent(id)}/items`, query);

/** Return the requests after a sequence number. */
export const requests = (after) => ask("requests", { after });
