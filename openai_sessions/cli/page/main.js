/** Poll the server for changes, and show them. */

import { chosenId, fragmentOf, markChosen, showConversations } from "./conversations.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { addRequests, clearRequests, showRequests } from "./requests.js";
import { KeyNeeded, conversations, forgetRead, hasKey, requests, state, useKey } from "./server.js";

const CALM_MS = 1000;
const BUSY_MS = 250;
const MORE = 200;
const WIDE = matchMedia("(min-width: 50rem)");

let seen = { server: null, contents: null, requests: 0 };
let limit = MORE;
let listed = [];
let shown = null;
let isReadOnly = false; // conversations of the API, which are read when they are selected
let isPoked = false;
let wake = () => {};

async function watch() {
  for (;;) {
    if (document.hidden) await changed();
    let wait = CALM_MS;
    try {
      if (await refresh()) wait = BUSY_MS;
      tell(isReadOnly ? "read-only" : "live", { isConnected: true });
    } catch (error) {
      if (error instanceof KeyNeeded) {
        askForKey();
        await changed();
      } else {
        tell(error instanceof TypeError ? "disconnected, retrying" : error.message);
      }
    }
    await Promise.race([changed(), new Promise((resolve) => setTimeout(resolve, wait))]);
  }
}

/** Resolve when the user has done something, or returned to the page, since the last call. */
async function changed() {
  if (!isPoked) await new Promise((resolve) => (wake = resolve));
  isPoked = false;
}

function poke() {
  isPoked = true;
  wake();
}

async function refresh() {
  const now = await state();
  byId("key-form").hidden = true;
  byId("columns").hidden = false;
  isReadOnly = Boolean(now.is_read_only);
  byId("read-again").hidden = !isReadOnly;
  if (now.server !== seen.server) forget();
  const isNew = now.contents !== seen.contents || now.requests !== seen.requests;
  if (now.requests !== null && now.requests !== seen.requests) {
    addRequests((await requests(seen.requests)).requests, { count: now.requests });
  }
  showRequests(now.requests !== null);
  if (now.contents !== seen.contents || !listed.asked) await list();
  await showChosen(now.contents !== seen.contents);
  seen = now;
  return isNew;
}

function forget() {
  seen = { server: null, contents: null, requests: 0 };
  shown = null;
  clearRequests();
}

async function list() {
  const answer = await conversations(limit);
  listed = Object.assign(answer.conversations, { asked: limit });
  showConversations(listed, answer);
}

async function showChosen(isChanged) {
  if (chosenId() === null && WIDE.matches && listed.length && (!isReadOnly || listed.length === 1)) {
    history.replaceState(null, "", fragmentOf(listed[0].id));
  }
  const id = chosenId();
  document.body.classList.toggle("choosing", id === null);
  markChosen(id);
  if (id === null) {
    shown = null;
    welcome();
    return;
  }
  const isOther = shown?.id !== id;
  if (isOther) {
    shown = new Conversation(id);
    shown.show();
    scrollTo(0, 0);
  }
  const conversation = listed.find((each) => each.id === id);
  if (conversation) shown.describe(conversation);
  document.title = conversation?.title ?? "Conversations";
  if (isOther || isChanged || !shown.isLoaded) await shown.refresh(() => chosenId() === id);
}

function welcome() {
  document.title = "Conversations";
  const greeting = isReadOnly ? (listed.length ? "choose" : "empty") : listed.length ? null : "welcome";
  const current = byId("main").querySelector(".welcome");
  if (current && current.dataset.greeting === greeting) return;
  byId("main").replaceChildren();
  if (greeting === null) return;
  byId("main").append(byId(greeting).content.cloneNode(true));
  byId("main").querySelector(".welcome").dataset.greeting = greeting;
  if (greeting !== "welcome") return;
  byId("main").querySelector("code").textContent =
    `export OPENAI_BASE_URL=${location.origin}/v1\nexport OPENAI_API_KEY=anything`;
}

function tell(connection, { isConnected = false } = {}) {
  const place = byId("connection");
  if (place.textContent !== connection) place.textContent = connection;
  place.classList.toggle("live", isConnected);
}

function askForKey() {
  byId("columns").hidden = true;
  byId("key-form").hidden = false;
  byId("key-error").textContent = hasKey() ? "The server rejected this key." : "";
  tell("waiting for a key");
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  byId("key").value = "";
  poke();
});
byId("read-again").addEventListener("click", async () => {
  await forgetRead().catch(() => {}); // polling tells what is wrong
  poke();
});
byId("older").addEventListener("click", () => {
  limit += MORE;
  listed.asked = 0;
  poke();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment names the conversation that is shown
  byId("main").focus();
});
addEventListener("hashchange", poke);
document.addEventListener("visibilitychange", poke);

watch();
