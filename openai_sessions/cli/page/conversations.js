/** The list of conversations. */

import { byId, counted, element, joined, moment } from "./dom.js";

/** Return the URL fragment that selects a conversation. */
export const fragmentOf = (id) => `#/${encodeURIComponent(id)}`;

/** Return the conversation id in the URL fragment, or null. */
export function chosenId() {
  if (!location.hash.startsWith("#/")) return null;
  try {
    return decodeURIComponent(location.hash.slice(2)) || null;
  } catch {
    return null;
  }
}

/** Show these conversations; links that remain keep focus and position. */
export function showConversations(listed, { more }) {
  const list = byId("conversations");
  const links = new Map([...list.children].map((row) => [row.firstChild.dataset.id, row]));
  const rows = listed.map((conversation) => {
    const row = links.get(conversation.id) ?? newRow(conversation.id);
    fill(row.firstChild, conversation);
    return row;
  });
  if (rows.length !== list.children.length || rows.some((row, index) => list.children[index] !== row)) {
    const focused = document.activeElement;
    list.replaceChildren(...rows);
    if (list.contains(focused)) focused.focus({ preventScroll: true });
  }
  byId("older").hidden = !more;
}

/** Mark the link of the selected conversation. */
export function markChosen(id) {
  for (const row of byId("conversations").children) {
    if (row.firstChild.dataset.id === id) row.firstChild.setAttribute("aria-current", "page");
    else row.firstChild.removeAttribute("aria-current");
  }
}

function newRow(id) {
  const link = element("a", { href: fragmentOf(id) });
  link.dataset.id = id;
  return element("li", {}, link);
}

function fill(link, conversation) {
  const shown = JSON.stringify(conversation);
  if (link.dataset.shown === shown) return;
  link.dataset.shown = shown;
  const title = element("bdi", { class: "title" }, conversation.title ?? conversation.id);
  link.replaceChildren(title, element("span", { class: "facts" }, ...joined(factsOf(conversation))));
}

/** Return what the list knows of a conversation besides its title: the size, when it was created or used. */
export function factsOf(conversation) {
  const facts = [];
  if (conversation.item_count !== null) facts.push(counted(conversation.item_count, "item"));
  if (conversation.created_at !== null) facts.push(moment(conversation.created_at));
  if (conversation.used_at) facts.push(element("span", {}, "used ", moment(conversation.used_at)));
  return facts;
}
