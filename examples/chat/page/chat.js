const byId = (id) => document.getElementById(id);
const input = byId("input");
const messages = byId("messages");

let shown = null; // the id of the conversation on the screen; null for a new one
let source = null; // the events of the answer that is being written
let isSending = false;

/** Send a request; return the JSON of the answer. */
async function api(method, path, body) {
  const headers = body ? { "content-type": "application/json" } : {};
  const response = await fetch(`api/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  const detail = typeof answer?.detail === "string" ? answer.detail : `The server answered ${response.status}.`;
  throw Object.assign(new Error(detail), { status: response.status });
}

/** Create an element with a text, which is never markup. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

const tell = (text) => byId("notice").replaceChildren(text);

// The sidebar

let searches = 0;
let nextAfter = null;

/** Read the first page of the list, or the next one. */
async function list({ more = false } = {}) {
  const search = ++searches;
  const query = new URLSearchParams({ search: byId("search").value.trim() });
  if (more) query.set("after", nextAfter);
  const page = await api("GET", `conversations?${query}`);
  if (search !== searches) return; // the user has typed on
  nextAfter = page.next_after;
  const entries = page.conversations.map(entry);
  if (more) byId("list").append(...entries);
  else byId("list").replaceChildren(...entries);
  byId("more").hidden = nextAfter === null;
  byId("none").hidden = byId("list").childElementCount > 0;
  mark();
}

function entry({ id, title, used_at }) {
  const used = new Date(used_at);
  const time = element("time", { datetime: used_at }, used.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
  const name = element("span", { class: "name", dir: "auto" }, title ?? "New conversation");
  return element("li", {}, element("a", { href: `#/${id}` }, name, time));
}

function mark() {
  for (const link of byId("list").querySelectorAll("a")) {
    if (link.hash === `#/${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

// The conversation

/** Show a conversation as it is stored, and the answer that is being written; null for a new one. */
async function show(id) {
  source?.close();
  source = null;
  shown = id;
  mark();
  choose(false);
  const conversation = id ? await api("GET", `conversations/${id}`) : { title: null, messages: [], run: null };
  if (shown !== id) return; // the user has chosen another one
  byId("title").textContent = conversation.title ?? "New conversation";
  byId("rename").hidden = byId("delete").hidden = id === null;
  messages.replaceChildren(...conversation.messages.map(message));
  messages.scrollTop = messages.scrollHeight;
  update();
  if (conversation.run !== null) follow(id, conversation.run);
}

/** Show a new conversation, without an event that would remove the notice. */
function leave() {
  history.replaceState(null, "", "#/");
  return show(null);
}

function message({ role, text }) {
  return element("div", { class: `message ${role}`, dir: "auto" }, text);
}

function update() {
  byId("send").disabled = isSending || source !== null;
}

/** Show an answer while it is written. The browser reconnects by itself, with the id of the last event. */
function follow(id, run) {
  const following = (source = new EventSource(`api/conversations/${id}/runs/${run}/events`));
  const answer = element("div", { class: "message assistant writing", dir: "auto" });
  const text = ({ data }) => JSON.parse(data).text;
  let question = "";
  const end = async (reason) => {
    following.close();
    if (source !== following) return;
    await show(id); // what is stored
    if (reason) tell(reason);
    const stored = [...messages.querySelectorAll(".user")].pop()?.textContent;
    if (reason && stored !== question && !input.value) input.value = question;
    await list();
  };
  following.addEventListener("question", (event) => {
    question = text(event);
    messages.append(message({ role: "user", text: question }), answer);
    messages.scrollTop = messages.scrollHeight;
  });
  following.addEventListener("delta", (event) => {
    const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
    answer.append(text(event));
    if (isAtEnd) messages.scrollTop = messages.scrollHeight;
  });
  following.addEventListener("done", () => end("").catch(fail));
  following.addEventListener("failed", (event) => end(text(event)).catch(fail));
  following.addEventListener("error", () => {
    if (following.readyState === EventSource.CLOSED) end("").catch(fail); // its events are gone
  });
  update();
}

async function send() {
  const text = input.value.trim();
  if (!text || byId("send").disabled) return;
  isSending = true;
  update();
  tell("");
  let id = shown;
  try {
    if (id === null) {
      ({ id } = await api("POST", "conversations"));
      shown = id;
      history.replaceState(null, "", `#/${id}`);
      byId("rename").hidden = byId("delete").hidden = false;
    }
    const { run } = await api("POST", `conversations/${id}/messages`, { text });
    input.value = "";
    if (shown === id) follow(id, run);
    await list();
  } catch (error) {
    if (shown === id && id !== null) await show(id); // it may have arrived all the same
    throw error;
  } finally {
    isSending = false;
    update();
  }
}

// Dialogs

/** Ask the user; return whether the user agrees, or the text that was asked for. */
function ask({ heading, text = "", value = null, action }) {
  const dialog = byId("dialog");
  byId("dialog-heading").textContent = heading;
  byId("dialog-text").textContent = text;
  byId("dialog-do").textContent = action;
  const field = byId("dialog-input");
  field.hidden = value === null;
  field.required = value !== null;
  field.value = value ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  field.select();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "do" && (value === null || field.value.trim()));
  });
}

async function rename() {
  const id = shown;
  const title = await ask({ heading: "Rename this conversation", value: byId("title").textContent, action: "Rename" });
  if (!title) return;
  await api("PATCH", `conversations/${id}`, { title });
  if (shown === id) byId("title").textContent = title;
  await list();
}

async function remove() {
  const id = shown;
  const text = "All of its messages are deleted, for good.";
  if (!(await ask({ heading: "Delete this conversation?", text, action: "Delete" }))) return;
  await api("DELETE", `conversations/${id}`);
  if (shown === id) await leave();
  await list();
}

async function erase() {
  const text = "All of your conversations are deleted, for good.";
  if (!(await ask({ heading: "Erase everything?", text, action: "Erase" }))) return;
  tell("Erasing…");
  const report = await api("DELETE", "me");
  await leave();
  await list();
  tell(summary(report));
}

function summary({ conversations, items, responses, files, keys }) {
  const failed = [conversations, items, responses, files, keys].flatMap((kind) => Object.keys(kind.failed));
  if (failed.length) return `Not deleted yet: ${failed.length}. Erase again later.`;
  return `Erased. Conversations: ${conversations.deleted.length}. Items: ${items.deleted.length}.`;
}

// What the user does

function choose(isChoosing) {
  document.body.classList.toggle("choosing", isChoosing);
  byId("menu").setAttribute("aria-expanded", String(isChoosing));
}

function fail(error) {
  if (error.status === 404 && shown !== null) leave();
  tell(error.message);
}

/** Call a function when something happens, and tell the user of its failure. */
function on(id, event, handler) {
  byId(id).addEventListener(event, (happened) => {
    Promise.resolve(handler(happened)).catch(fail);
  });
}

function navigate() {
  const id = location.hash.replace(/^#\/?/, "") || null;
  tell("");
  show(id).catch(fail);
  if (id === null) input.focus();
}

let typing;
on("search", "input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => list().catch(fail), 200);
});
on("more", "click", () => list({ more: true }));
on("skip", "click", (event) => {
  event.preventDefault();
  input.focus();
});
on("new", "click", () => choose(false));
on("menu", "click", () => {
  choose(true);
  byId("search").focus();
});
on("list", "click", () => choose(false));
on("rename", "click", rename);
on("delete", "click", remove);
on("erase", "click", erase);
on("dialog-cancel", "click", () => byId("dialog").close());
on("composer", "submit", (event) => {
  event.preventDefault();
  return send();
});
on("input", "keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return undefined;
  event.preventDefault();
  return send();
});
addEventListener("hashchange", navigate);
navigate();
list().catch(fail);
