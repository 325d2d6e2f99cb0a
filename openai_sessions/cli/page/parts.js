/** Parts of a transcript entry: text, JSON blocks, images and placeholders. */

import { element } from "./dom.js";
import { indented } from "./json.js";

const LONGEST = 8_000;
const BEGINNING = 4_000;
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+$/;
const BASE64 = /^[A-Za-z0-9+/=\s]+$/;

/** Return a text; a very long one is truncated until its button is pressed. */
export function text(written, { name = "div", className = "text" } = {}) {
  const made = element(name, { class: className, dir: "auto" });
  if (written.length <= LONGEST) {
    made.append(written);
    return made;
  }
  const button = element("button", { type: "button", class: "quiet" });
  button.append(`Show all ${written.length.toLocaleString("en")} characters`);
  button.addEventListener("click", () => made.replaceChildren(written), { once: true });
  made.append(beginning(written), "… ", button);
  return made;
}

function beginning(written) {
  const half = /[\uD800-\uDBFF]$/; // of a surrogate pair
  return written.slice(0, BEGINNING).replace(half, "");
}

/** Return a block with a value as JSON; a string that is itself JSON is indented. */
export function block(value) {
  const written = typeof value === "string" ? indented(value) : JSON.stringify(value, null, 2);
  return element("pre", { class: "block", tabindex: "0" }, text(written, { name: "code", className: "code" }));
}

/** Return a block with a JSON text, its numbers unchanged. */
export function jsonBlock(json) {
  return block(indented(json));
}

/** Return a placeholder for something that is not shown. */
export function placeholder(what, named) {
  const made = element("p", { class: "placeholder" }, what);
  if (named) made.append(": ", element("bdi", {}, shortened(named)));
  return made;
}

function shortened(named) {
  return named.length > 200 ? `${named.slice(0, 200)}…` : named;
}

/** Return the texts and images of a message, an output or a summary. */
export function contentParts(content) {
  if (typeof content === "string") return [text(content)];
  return content.map((part) => (MAKERS[part?.type] ?? block)(part));
}

/** Return whether a value is a list of known content parts. */
export function isContent(value) {
  return Array.isArray(value) && value.length > 0 && value.every((part) => part?.type in MAKERS);
}

/** Return the image in a data URL; other URLs are named, never fetched. */
export function picture(url, { fileId = null } = {}) {
  if (typeof url !== "string") return placeholder("Image", fileId);
  if (!PICTURE.test(url)) return placeholder("Image, not fetched", url);
  const made = element("img", { class: "picture", alt: "Image in the conversation", loading: "lazy" });
  made.src = url;
  made.addEventListener("error", () => made.replaceWith(placeholder("Image that cannot be shown")));
  return made;
}

/** Return the image of a base64-encoded PNG. */
export function pngPicture(base64) {
  return BASE64.test(base64) ? picture(`data:image/png;base64,${base64}`) : block(base64);
}

function textPart(part) {
  return typeof part.text === "string" ? text(part.text) : block(part);
}

function refusal(part) {
  return typeof part.refusal === "string" ? text(part.refusal, { className: "text refusal" }) : block(part);
}

const MAKERS = Object.assign(Object.create(null), {
  input_text: textPart,
  output_text: textPart,
  text: textPart,
  summary_text: textPart,
  reasoning_text: textPart,
  refusal,
  input_image: (part) => picture(part.image_url, { fileId: part.file_id }),
  computer_screenshot: (part) => picture(part.image_url, { fileId: part.file_id }),
  input_file: (part) => placeholder("File", nameOf(part.filename ?? part.file_url ?? part.file_id)),
});

function nameOf(value) {
  return typeof value === "string" ? value : "";
}
