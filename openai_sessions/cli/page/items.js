/** Transcript entries for items. */

import { element } from "./dom.js";
import { block, contentParts, isContent, jsonBlock, placeholder, pngPicture, text } from "./parts.js";

const INPUTS = ["arguments", "input", "action", "operation", "code", "queries"];
const OUTPUTS = ["output", "outputs", "results", "result", "error"];
const CALLS = /_call$|^mcp_approval_request$|^program$/;
const COMPACTED = "Stands for the items before it, encrypted by the API";
const ENVELOPE = "openai-sessions:encrypted:";
const OUTPUTS_OF_CALLS = /_output$|^mcp_approval_response$/;

/** Return whether an item is a call or an approval request. */
export const isCall = (item) => CALLS.test(item.type);

/** Return whether an item is the output of a call, or an approval. */
export const isOutput = (item) => OUTPUTS_OF_CALLS.test(item.type);

/** Return the id that a call and its output share. */
export function callId(item) {
  return item.call_id ?? item.approval_request_id ?? item.id;
}

/** Return a type as words: "function call" for `function_call`. */
export function spoken(type) {
  return String(type).replaceAll("_", " ");
}

/** Return the entry of an item that is neither a call nor an output. */
export function entry(item, json) {
  if (item.type === "message") return message(item, json);
  if (item.type === "reasoning") return reasoning(item, json);
  if (item.type === "compaction") return framed("compaction", "compaction", json, placeholder(COMPACTED));
  return framed("other", spoken(item.type), json, jsonBlock(json));
}

/** Return the entry of a call, with room for its output. */
export function callEntry(item, json) {
  const names = [item.server_label, item.name].filter((name) => typeof name === "string" && name);
  const title = element("p", { class: "tool" }, element("bdi", {}, names.join(" · ") || spoken(item.type)));
  const sides = element("div", { class: "sides" });
  sides.append(element("section", { class: "side-in" }, title, ...fields(item, INPUTS)));
  return { node: framed("call", spoken(item.type), json, sides), sides };
}

/** Return the output shown beside its call. */
export function outputSide(item, json) {
  const caption = element("p", { class: "caption" }, "output");
  return element("section", { class: "side-out" }, caption, ...outputs(item, json), raw(json));
}

/** Return what is shown beside a call without an output item: results in the call itself, or its status. */
export function ownOutput(item) {
  const brought = fields(item, OUTPUTS);
  const section = element("section", { class: "side-out" });
  if (brought.length) section.append(element("p", { class: "caption" }, "output"), ...brought);
  else section.append(element("p", { class: "caption" }, needsOutput(item) ? "no output yet" : item.status ?? ""));
  return section;
}

/** Return the entry of an output whose call is missing. */
export function outputEntry(item, json) {
  const sides = element("div", { class: "sides" });
  sides.append(
    element("section", { class: "side-in" }, element("p", { class: "caption" }, "the call is missing")),
    element("section", { class: "side-out" }, ...outputs(item, json)),
  );
  return framed("call", spoken(item.type), json, sides);
}

function message(item, json) {
  const role = String(item.role);
  const content = Array.isArray(item.content) || typeof item.content === "string" ? item.content : [];
  if (isEnvelope(content)) return framed("encrypted", "encrypted", json, placeholder("Item of an EncryptedSession"));
  const known = ["user", "assistant", "system", "developer"].includes(role) ? role : "other";
  return framed(known, role, json, ...contentParts(content));
}

function isEnvelope(content) {
  const written = Array.isArray(content) && content.length === 1 ? content[0]?.text : content;
  return typeof written === "string" && written.startsWith(ENVELOPE);
}

function reasoning(item, json) {
  const parts = [...lists(item.summary), ...lists(item.content)];
  const made = isContent(parts) ? contentParts(parts) : parts.map(block);
  if (!made.length) {
    made.push(placeholder(item.encrypted_content ? "Reasoning, encrypted" : "Reasoning without a summary"));
  }
  return framed("reasoning", "reasoning", json, ...made);
}

const lists = (value) => (Array.isArray(value) ? value : []);

function needsOutput(item) {
  return "call_id" in item || item.type === "mcp_approval_request";
}

function fields(item, names) {
  return names
    .filter((name) => name in item && item[name] !== null)
    .map((name) => value(item[name], { isPng: item.type === "image_generation_call" && name === "result" }));
}

function outputs(item, json) {
  if (item.type === "mcp_approval_response") {
    return [text(item.approve ? "approved" : "denied"), ...(item.reason ? [text(String(item.reason))] : [])];
  }
  const brought = fields(item, OUTPUTS);
  return brought.length ? brought : [jsonBlock(json)];
}

function value(given, { isPng }) {
  if (isPng && typeof given === "string") return pngPicture(given);
  if (isContent(given)) return element("div", {}, ...contentParts(given));
  if (isContent([given])) return element("div", {}, ...contentParts([given]));
  return block(given);
}

function framed(kind, label, json, ...content) {
  const heading = element("h3", { class: "role" }, element("bdi", {}, label));
  const body = element("div", { class: "body" }, ...content, raw(json));
  return element("li", { class: `entry ${kind}` }, heading, body);
}

/** Return a disclosure of the stored item, filled when it is opened. */
function raw(json) {
  const made = element("details", { class: "raw" }, element("summary", {}, "JSON"));
  made.addEventListener("toggle", () => made.append(jsonBlock(json)), { once: true });
  return made;
}
