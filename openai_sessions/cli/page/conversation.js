/** The selected conversation: title, metadata and transcript. */

import { byId, counted, element, moment } from "./dom.js";
import { NotThere, items } from "./server.js";
import { Transcript } from "./transcript.js";

const NEAR = 80;
const FRAMES = 4;

export class Conversation {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.title = element("h2", { class: "title", dir: "auto" });
    this.facts = element("p", { class: "facts" });
    this.metadata = element("dl", { class: "metadata" });
    this.notice = element("p", { class: "notice", role: "status" });
    this.list = element("ol", { class: "transcript", "aria-label": "Transcript", "aria-busy": "true" });
    this.transcript = new Transcript(this.list);
    this.isLoaded = false;
  }

  /** Show this conversation instead of the previous one. */
  show() {
    const back = element("a", { class: "back", href: "#" }, "All conversations");
    const head = element("header", { class: "head" }, back, this.title, this.facts, this.metadata);
    this.title.append("Conversation");
    byId("main").replaceChildren(head, this.list, this.notice);
    this.notice.hidden = true;
  }

  /** Show the title and metadata from the list of conversations. */
  describe(conversation) {
    this.title.textContent = conversation.title ?? "Conversation";
    const id = element("code", { class: "id" }, conversation.id);
    this.facts.replaceChildren(id, " ", moment(conversation.created_at), ` · ${counted(conversation.item_count, "item")}`);
    this.metadata.replaceChildren();
    for (const [name, value] of Object.entries(conversation.metadata)) {
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
      if (!(error instanceof NotThere)) throw error;
      this.#explain(this.isLoaded ? "This conversation was deleted; these were its items." : "This conversation was not found.");
    }
    this.list.setAttribute("aria-busy", "false");
  }

  async #load() {
    const page = await items(this.id, this.transcript.last, this.transcript.size);
    const follow = this.isLoaded && atBottom();
    if (page.kept) this.transcript.keep(page.kept);
    for (const { position, json } of page.items) this.transcript.add(position, json);
    if (follow && page.items.length) await scrollToEnd();
    if (!page.items.length) this.isLoaded = true;
    return page.items.length > 0;
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

/** Scroll for several frames: entries get their height only when they come near the screen. */
async function scrollToEnd() {
  for (let frame = 0; frame < FRAMES; frame += 1) {
    scrollTo(0, document.scrollingElement.scrollHeight);
    await new Promise(requestAnimationFrame);
  }
}
