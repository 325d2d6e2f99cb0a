/** The list of requests, newest first. */

import { byId, element, moment } from "./dom.js";

const KEPT = 200;

/** Show the number of requests, and add new ones at the top. */
export function addRequests(requests, { count }) {
  byId("requests-count").textContent = count.toLocaleString("en");
  const list = byId("requests");
  list.prepend(...requests.map(row).reverse());
  while (list.children.length > KEPT) list.lastChild.remove();
}

/** Show or hide the list. */
export function showRequests(shown) {
  byId("requests-panel").hidden = !shown;
}

/** Empty the list. */
export function clearRequests() {
  byId("requests").replaceChildren();
}

function row(request) {
  const failed = request.status === null || request.status >= 400;
  const status = element("span", { class: failed ? "status failed" : "status" }, String(request.status ?? "–"));
  const name = element("bdi", { class: "operation" }, request.operation ?? `${request.method} ${request.path}`);
  const made = element("li", {}, status, name);
  made.title = `${request.method} ${request.path}`;
  if (request.fault) made.append(element("span", { class: "fault" }, request.fault));
  made.append(moment(request.at, { exact: true }));
  return made;
}
