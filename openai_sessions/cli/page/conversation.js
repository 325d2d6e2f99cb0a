/** The selected conversation: title, facts, metadata and transcript. */

import { factsOf } from "./conversations.js";
import { byId, counted, element, joined, moment } from "./dom.js";
import { lines, remarks, usageText } from "./notes.js";
import { Failed, NotThere, items, olderItems } from "./server.js";
import { Transcript } from "./transcript.js";

const NEAR = 80;
const FRAMES = 4;

export class Conversation {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.title = element("h2", { class: "title", dir: "auto" });
    this.facts = element("p", { class: "facts" });
    this.usage = element("p", { class: "facts usage" });
    this.metadata = element("dl", { class: "metadata" });
    this.older = element("button", { type: "button", class: "quiet older" }, "Show older items");
    this.notice = element("p", { class: "notice", role: "status" });
    this.list = element("ol", { class: "transcript", "aria-label": "Transcript", "aria-busy": "true" });
    this.transcript = new Transcript(this.list);
    this.described = null;
    this.notes = null;
    this.isLoaded = false;
  }

  /** Show this conversation instead of the previous one. */
  show() {
    const back = element("a", { class: "back", href: "#" }, "All conversations");
    const head = element("header", { class: "head" }, back, this.title, this.facts, this.usage, this.metadata);
    this.title.append("Conversation");
    this.older.hidden = true;
    this.older.addEventListener("click", () => this.#showOlder());
    byId("main").replaceChildren(head, this.older, this.list, this.notice);
    this.#explain("Reading the conversation");
  }

  /** Show the title and facts from the list of conversations, and what was read beside the items. */
  describe(conversation) {
    this.described = conversation;
    this.title.textContent = conversation.title ?? "Conversation";
    const id = element("code", { class: "id" }, conversation.conversation_id ?? conversation.id);
    const facts = [...factsOf(conversation)].reverse();
    if (this.notes) facts.push(element("span", {}, "read at ", moment(this.notes.read_at, { exact: true })));
    this.facts.replaceChildren(id, " ", ...joined(facts));
    this.usage.textContent = this.notes?.usage ? usageText(this.notes.usage) : "";
    this.metadata.replaceChildren();
    for (const [name, value] of Object.entries({ ...conversation.metadata, ...this.notes?.metadata })) {
      const term = element("dt", {}, element("bdi", {}, name));
      this.metadata.append(element("div", {}, term, element("dd", {}, element("bdi", {}, value))));
    }
  }

  /**
   * Load new items into the transcript.
   * @param {() => boolean} wanted returns whether this conversation is still selected
   */
  async refresh(wanted) {
    try {
      while (wanted() && (await this.#load()));
      this.#explain(this.transcript.size ? "" : "This conversation has no items.");
    } catch (error) {
      if (!(error instanceof NotThere || error instanceof Failed)) throw error;
      const isDeleted = error instanceof NotThere && this.transcript.size;
      this.#explain(isDeleted ? "This conversation was deleted; these were its items." : error.message);
    }
    this.list.setAttribute("aria-busy", "false");
  }

  async #load() {
    const page = await items(this.id, this.transcript.last, this.transcript.size);
    const follow = this.isLoaded && atBottom();
    if (page.kept) this.transcript.keep(page.kept);
    for (const { position, json } of page.items) this.transcript.add(position, json);
    this.#annotate(page);
    if (follow && page.items.length) await scrollUntil(() => document.scrollingElement.scrollHeight);
    if (!page.items.length) this.isLoaded = true;
    return page.items.length > 0;
  }

  /** Load the page of items before the oldest; the entry that was the first stays where it is on the screen. */
  async #showOlder() {
    this.older.disabled = true;
    try {
      const position = this.transcript.first;
      const page = await olderItems(this.id, position);
      const top = topOf(this.transcript.nodeOf(position));
      this.transcript.addOlder(page.items);
      this.#annotate(page);
      if (this.list.isConnected) await scrollUntil(() => topOf(this.transcript.nodeOf(position)) - top);
      this.#explain("");
    } catch (error) {
      this.#explain(error.message);
    }
    this.older.disabled = false;
  }

  #annotate({ older, notes }) {
    if (!notes) return;
    this.notes = notes;
    this.older.hidden = !older;
    this.transcript.annotate(lines(notes), remarks(notes));
    if (this.described) this.describe(this.described);
  }

  #explain(message) {
    this.notice.textContent = message;
    this.notice.hidden = !message;
  }
}

function atBottom() {
  const page = document.scrollingElement;
  return page.scrollTop + page.clientHeight >= page.scrollHeight - NEAR;
}

const topOf = (node) => node.getBoundingClientRect().top;

/** Scroll by a distance for several frames: entries get their height only when they come near the screen. */
async function scrollUntil(distance) {
  for (let frame = 0; frame < FRAMES; frame += 1) {
    scrollBy(0, distance());
    await new Promise(requestAnimationFrame);
  }
}
