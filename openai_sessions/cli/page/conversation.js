/** The chosen conversation: what it is, and its transcript. */

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

  /** Put the conversation in the place of what was shown before. */
  show() {
    const back = element("a", { class: "back", href: "#" }, "All conversations");
    const head = element("header", { class: "head" }, back, this.title, this.facts, this.metadata);
    this.title.append("Conversation");
    byId("main").replaceChildren(head, this.list, this.notice);
    this.notice.hidden = true;
  }

  /** Say what the list of conversations knows of this one. */
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
   * Bring the transcript up to date.
   * @param {() => boolean} wanted tells whether it is still this conversation that is to be shown
   */
  async refresh(wanted) {
    try {
      while (wanted() && (await this.#load()));
      this.#explain(this.transcript.size ? "" : "It has no items.");
    } catch (error) {
      if (!(error instanceof NotThere)) throw error;
      this.#explain(this.isLoaded ? "It was deleted; this is what it was." : "There is no such conversation.");
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

/** An entry gets its height when it comes near the screen, in the next frames. */
async function scrollToEnd() {
  for (let frame = 0; frame < FRAMES; frame += 1) {
    scrollTo(0, document.scrollingElement.scrollHeight);
    await new Promise(requestAnimationFrame);
  }
}
