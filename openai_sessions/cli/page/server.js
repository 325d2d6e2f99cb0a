/** Asking the server for data. A key, where it wants one, is held here until the page is left. */

let key = null;

/** The server wants a key, or another one. */
export class KeyNeeded extends Error {}

/** What was asked for is not there. */
export class NotThere extends Error {}

/** Use this key from now on. */
export function useKey(given) {
  key = given;
}

/** Tell whether a key is in use. */
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

/** What changes when anything has changed. */
export const state = () => ask("state");

/** The newest conversations. */
export const conversations = (limit) => ask("conversations", { limit });

/** The items behind a position, told how many are here up to there. */
export const items = (id, after, have) =>
  ask(`conversations/${encodeURIComponent(id)}/items`, { after, have });

/** The requests behind a number. */
export const requests = (after) => ask("requests", { after });
