/** The items of one conversation in order, each call beside its output. */

import { element } from "./dom.js";
import { callEntry, callId, entry, isCall, isOutput, outputEntry, outputSide, ownOutput } from "./items.js";

export class Transcript {
  /** @param {HTMLOListElement} list the list of entries */
  constructor(list) {
    this.list = list;
    this.entries = new Map(); // position -> { node, remove, json }
    this.calls = new Map(); // call id -> its newest call
    this.last = 0;
  }

  /** The number of items. */
  get size() {
    return this.entries.size;
  }

  /** Append an item. */
  add(position, json) {
    this.entries.set(position, { ...this.#made(JSON.parse(json), json), json });
    this.last = Math.max(this.last, position);
  }

  /** The position of the oldest item. */
  get first() {
    return this.entries.keys().next().value;
  }

  /** Put older items before the others. All entries are made again, so that outputs find their calls. */
  addOlder(items) {
    const known = [...this.entries].map(([position, { json }]) => ({ position, json }));
    this.keep([]);
    for (const { position, json } of [...items, ...known]) this.add(position, json);
  }

  /** Return the entry that shows the item at a position. */
  nodeOf(position) {
    return this.entries.get(position)?.node;
  }

  /** Show these lines above items, and remarks in their entries, instead of the previous ones. */
  annotate(lines, remarks) {
    for (const node of this.list.querySelectorAll(":scope > .mark, :scope > .entry > .body > .remark")) node.remove();
    for (const { position, kind, words } of lines) {
      this.nodeOf(position)?.before(element("li", { class: `mark ${kind}` }, words));
    }
    for (const { position, words } of remarks) {
      this.nodeOf(position)?.querySelector(".body").append(element("p", { class: "remark" }, words));
    }
  }

  /** Remove all items except those at these positions. */
  keep(positions) {
    const kept = new Set(positions);
    for (const [position, made] of this.entries) {
      if (kept.has(position)) continue;
      this.entries.delete(position);
      made.remove();
    }
  }

  #made(item, json) {
    if (isCall(item)) return this.#call(item, json);
    const call = isOutput(item) ? this.calls.get(callId(item)) : undefined;
    if (call && !call.output) return this.#output(call, item, json);
    return this.#alone(isOutput(item) ? outputEntry(item, json) : entry(item, json));
  }

  #alone(node) {
    this.list.append(node);
    return { node, remove: () => node.remove() };
  }

  #call(item, json) {
    const { node, sides } = callEntry(item, json);
    const call = { node, sides, own: ownOutput(item), output: null, standIn: null };
    sides.append(call.own);
    this.calls.set(callId(item), call);
    this.list.append(node);
    return {
      node,
      remove: () => {
        if (this.calls.get(callId(item)) === call) this.calls.delete(callId(item));
        if (call.output) node.replaceWith((call.standIn = call.output.alone()));
        else node.remove();
      },
    };
  }

  #output(call, item, json) {
    const side = outputSide(item, json);
    call.output = { alone: () => outputEntry(item, json) };
    call.own.replaceWith(side);
    return {
      node: call.node,
      remove: () => {
        call.output = null;
        side.replaceWith(call.own);
        call.standIn?.remove();
      },
    };
  }
}
