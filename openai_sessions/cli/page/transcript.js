/** The items of one conversation in order, each call beside its output. */

import { callEntry, callId, entry, isCall, isOutput, outputEntry, outputSide, ownOutput } from "./items.js";

export class Transcript {
  /** @param {HTMLOListElement} list the list of entries */
  constructor(list) {
    this.list = list;
    this.entries = new Map(); // position -> { node, remove }
    this.calls = new Map(); // call id -> its newest call
    this.last = 0;
  }

  /** The number of items. */
  get size() {
    return this.entries.size;
  }

  /** Append an item. */
  add(position, json) {
    const item = JSON.parse(json);
    this.entries.set(position, this.#made(item, json));
    this.last = position;
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
    return { remove: () => node.remove() };
  }

  #call(item, json) {
    const { node, sides } = callEntry(item, json);
    const call = { sides, own: ownOutput(item), output: null, standIn: null };
    sides.append(call.own);
    this.calls.set(callId(item), call);
    this.list.append(node);
    return {
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
      remove: () => {
        call.output = null;
        side.replaceWith(call.own);
        call.standIn?.remove();
      },
    };
  }
}
