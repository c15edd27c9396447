/**
 * The panel's front end: one view of one sign-in, as an anywidget module.
 *
 * The kernel says what is (`state`, always the whole of it), a person says what to do (`act`). All
 * of it travels in custom messages, because notebooks save what is synced. Texts may come from
 * servers: they are shown by `textContent` alone, and only http(s) addresses become links.
 */

/** Every word that a person reads here; the kernel's state brings the rest. */
const WORDS = {
  group: (host) => `Sign-in to ${host}`,
  newTab: " (opens in a new tab)",
  notebook: "This notebook",
  issuer: "Its authorization server",
  issuerUnknown: "known after you sign in",
  issuerAsks: "asks you to approve",
  issuerAsked: "where you approved",
  claim: (name) => `“${name}”, says the server`,
  configured: (name) => `“${name}” in your configuration`,
  permissions: "Permissions",
  kept: "Where the login is saved",
  memoryOnly: "Keep it in memory only, until the kernel ends",
  signIn: "Sign in",
  signInAgain: "Sign in again",
  openPage: "Open the sign-in page",
  cancel: "Cancel",
  minutesLeft: (minutes) => `Time left: about ${minutes} min`,
  code: "Enter this code there",
  paste:
    "After you approve, your browser may say this page can't be reached. That's expected. " +
    "Copy the whole address from its address bar and paste it here.",
  pasteFold: "Nothing came back? Paste the address",
  pasteField: "The whole address",
  pasteButton: "Use it",
  goOn: "Continue",
  ssh:
    "If the kernel is not on your browser's computer, run this line in a terminal there. " +
    "It forwards the port:",
  errorPage: "The server shows an error page?",
  otherDevice: "Use another device",
  deviceCode: "Get a code for another device",
  qr: (url) => `QR code of ${url}`,
  copy: "Copy",
  copied: "Copied",
  copyByHand: "Selected: press Ctrl+C",
  tools: "Tools",
  toolsLoading: "Asking the server…",
  signOut: "Sign out",
  otherAccount: "Use another account",
  addPermissions: "Add permissions",
  missing: (names) => `A call needed more permissions: ${names.join(", ")}`,
  install: "Install the page",
  details: "Details",
  busy: "The kernel is busy. This continues by itself when the running cell ends.",
  silent: "The kernel has not answered for a while. If it was restarted, run the cell again.",
  gone: "The kernel was restarted or has ended. Run the cell again.",
  offline: "This browser is offline. The sign-in continues when it is online again.",
};

const ACTIVE = ["starting", "waiting", "exchanging"];
const AT_REST = ["signed_in", "no_sign_in", "unusable"];
const OWN_MACHINE = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/;
const BUSY_AFTER = 300;
const SILENT_AFTER = 10_000;
/** How long a channel stays open for a tab that is late: to be told the end, or the outcome. */
const LINGER = 30_000;
const LONGEST_ANSWER = 20_000;

/** Drawn on 24 by 24, stroked with the colour of the text around. */
const ICONS = {
  notebook: "M7 3h10l2 2v14l-2 2H7l-2-2V5zM9 3v18M12.5 8H16M12.5 12H16",
  lock: "M7 11h10l2 2v5l-2 2H7l-2-2v-5zM8 11V8a4 4 0 0 1 8 0v3M12 14.5v2",
  server: "M6 4h12l2 2v3l-2 2H6L4 9V6zM6 13h12l2 2v3l-2 2H6l-2-2v-3zM8 7.5h.01M8 16.5h.01M12 7.5h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  chevron: "M6 9.5l6 6 6-6",
  leaves: "M14 4h6v6M20 4l-9 9M18 14v4l-2 2H6l-2-2V8l2-2h4",
};

// ---- small tools -----------------------------------------------------------------------------

/** Makes an element from "tag.class": functions listen, booleans switch, the rest is attributes. */
function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function icon(name) {
  const about = { class: `icon ${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" };
  return svg("svg", about, svg("path", { d: ICONS[name] }));
}

function button(label, click, look = "button") {
  return h(`button.${look}`, { type: "button", click }, label);
}

/** A link that leaves this page, and says so to those who don't see its icon. */
function tabLink(label, look = "button", listeners = {}) {
  const about = { target: "_blank", rel: "noopener noreferrer", hidden: true, ...listeners };
  return h(`a.${look}`, about, label, icon("leaves"), h("span.unseen", {}, WORDS.newTab));
}

/** Shows a text, or hides its element. An equal text touches nothing: nobody hears it twice. */
function say(node, text) {
  const value = typeof text === "string" ? text : "";
  if (node.textContent !== value) node.textContent = value;
  node.hidden = value === "";
}

const filled = new WeakMap();

/** Fills a list anew, but only if its items are others than before. */
function fill(node, items, make) {
  const key = JSON.stringify(items);
  if (filled.get(node) === key) return;
  filled.set(node, key);
  node.replaceChildren(...items.map(make));
}

/** @returns {URL | null} the address, if a link may lead there */
function webAddress(text) {
  const url = typeof text === "string" && URL.canParse(text) ? new URL(text) : null;
  return ["http:", "https:"].includes(url?.protocol) ? url : null;
}

/** Lets a link lead somewhere, or hides it. */
function lead(link, address) {
  const href = webAddress(address)?.href;
  if (!href) link.removeAttribute("href");
  else if (link.href !== href) link.href = href;
  link.hidden = !href;
}

/** @returns {string} 32 random bytes, base64url; `randomUUID` is missing on plain http */
function nonce() {
  const bytes = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32)));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** A black code on white with its quiet zone of four modules, whether the rows bring one or not. */
function qrCode({ rows, url }) {
  const edge = rows.findIndex((row) => row.includes("1")) - 4;
  const size = rows.length - 2 * edge;
  const bar = (x, y, length) => `M${x} ${y}h${length}v1h-${length}z`;
  const bars = rows.flatMap((row, y) =>
    [...row.matchAll(/1+/g)].map((run) => bar(run.index, y, run[0].length)),
  );
  const viewBox = `${edge} ${edge} ${size} ${size}`;
  return svg("svg", { class: "qr", viewBox, role: "img", "aria-label": WORDS.qr(url) },
    svg("rect", { x: edge, y: edge, width: size, height: size, fill: "#fff" }),
    svg("path", { d: bars.join(""), fill: "#000", "shape-rendering": "crispEdges" }));
}

/** A text with a button that copies it. */
class Copyable {
  text = h("code", { tabindex: "0" });
  button = button(WORDS.copy, () => this.copy(), "small");
  node = h("div.copyable", {}, this.text, this.button);

  async copy() {
    getSelection()?.selectAllChildren(this.text);
    const copied = navigator.clipboard?.writeText(this.text.textContent) ?? Promise.reject();
    // Plain http has no clipboard: the text is selected, then.
    this.button.textContent = await copied.then(() => WORDS.copied, () => WORDS.copyByHand);
    setTimeout(() => (this.button.textContent = WORDS.copy), 2500);
  }
}

// ---- where this is ---------------------------------------------------------------------------

/** @returns {string | null} where this Jupyter server, or Voila, would serve the callback page */
function callbackAddress() {
  try {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    const folder = config.fullLabextensionsUrl || config.baseUrl.replace(/\/?$/, "/lab/extensions");
    const url = new URL(`${folder}/mcpnb/callback.html`, location.origin);
    const web = ["http:", "https:"].includes(url.protocol);
    return web && url.origin === location.origin ? url.href : null;
  } catch {
    return null; // VS Code, Colab, marimo: no page of ours at this origin
  }
}

/** Whether the page is really there: it is not where mcpnb lives in another environment. */
async function isServed(callback) {
  try {
    const how = { cache: "no-store", credentials: "same-origin", redirect: "error" };
    const answer = await fetch(callback, { ...how, signal: AbortSignal.timeout(3000) });
    return answer.ok && (await answer.text()).includes("mcpnb-callback-page");
  } catch {
    return false;
  }
}

async function whereAmI() {
  const callback = callbackAddress();
  const served = callback !== null && (await isServed(callback));
  const top = window === window.top;
  return { origin: location.origin, callback, served, secure: isSecureContext, top };
}

// ---- the line to the kernel ------------------------------------------------------------------

/** Sends to the kernel, and knows whether it still hears. */
class Line {
  live = true;
  #last = 0;
  #view = nonce();
  /** Message number to how long it has not been heard, and what will tell. */
  #unheard = new Map();
  #replies = new Map();

  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
  }

  /**
   * Every message is to be heard at once; some get a reply later. What is `secret` goes beside the
   * content: kernels write contents into their logs at DEBUG, and buffers not (measured).
   */
  send(kind, content = {}, onReply = null, secret = null) {
    const id = ++this.#last;
    const message = { waited: 0 };
    message.timers = [BUSY_AFTER, SILENT_AFTER].map((after) =>
      setTimeout(() => ((message.waited = after), this.onChange()), after),
    );
    this.#unheard.set(id, message);
    if (onReply) this.#replies.set(id, onReply);
    try {
      const buffers = secret === null ? [] : [new TextEncoder().encode(secret).buffer];
      this.model.send({ kind, view: this.#view, id, ...content }, undefined, buffers);
    } catch {
      this.setLive(false); // the comm went with its kernel
    }
  }

  /** Takes `ping`, and `heard` and `reply` if they are for this view. */
  receive({ kind, view, id, ...content }) {
    if (kind === "ping") this.send("pong");
    if (view !== this.#view) return;
    // What came before it is not lost, but in a queue of its own: see `Panel.#sayHello`.
    if (kind === "heard") this.#forget(...[...this.#unheard.keys()].filter((sent) => sent <= id));
    if (kind === "reply") this.#replies.get(id)?.(content);
    if (kind === "reply") this.#replies.delete(id);
  }

  #forget(...ids) {
    for (const id of ids) this.#unheard.get(id)?.timers.forEach(clearTimeout);
    for (const id of ids) this.#unheard.delete(id);
    this.onChange();
  }

  /** Whether something has not been heard yet. */
  get waits() {
    return this.#unheard.size > 0;
  }

  setLive(live) {
    this.live = live;
    if (live) this.onChange();
    else this.#forget(...this.#unheard.keys()); // what was not heard never will be
  }

  close() {
    this.onChange = () => {};
    this.setLive(false);
  }

  /** @returns {"" | "busy" | "silent" | "gone"} */
  get trouble() {
    if (!this.live) return "gone";
    const waited = Math.max(0, ...[...this.#unheard.values()].map((message) => message.waited));
    if (waited < SILENT_AFTER) return waited ? "busy" : "";
    // JupyterLab knows more than the silence does: a cell may run for hours.
    const status = this.model.widget_manager?.kernel?.status;
    return { busy: "busy", idle: "gone", dead: "gone" }[status] ?? "silent";
  }
}

// ---- channels to other tabs ------------------------------------------------------------------

/** Listens on a BroadcastChannel; whatever is no object with a `kind` is not for us. */
function listen(name, react) {
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => typeof data?.kind === "string" && react(data);
  return channel;
}

/**
 * A control that begins a sign-in: a real link to the callback page's `#go=` where that is served,
 * so that no browser takes the new tab for a pop-up, and a button elsewhere.
 *
 * The link's tab says `ready`. That begins it as well as the click does: a tab may be opened from
 * the link's context menu, which is no click.
 */
class Launcher {
  #label;
  #page = null;
  /** @type {BroadcastChannel | null} of the link as it is now */
  #channel = null;

  /** @param begin takes the channel of the link's tab, as often as that asks, or null */
  constructor(label, begin, look = "button") {
    this.#label = label;
    this.begin = begin;
    this.words = h("span", {}, label);
    const middle = (event) => event.button === 1 && this.#press();
    this.link = tabLink(this.words, look, { click: () => this.#press(), auxclick: middle });
    this.button = button(label, () => begin(null), look);
    this.node = h("span.launcher", {}, this.link, this.button);
  }

  /** Knows now where it is. */
  place(page) {
    this.#page = page;
    if (page.served && !this.#channel) this.#renew();
  }

  show(visible, label = this.#label) {
    const served = this.#page?.served ?? false;
    say(this.words, label);
    say(this.button, label);
    this.link.hidden = !served;
    this.button.hidden = served;
    this.node.hidden = !visible;
  }

  #press() {
    const channel = this.#channel;
    this.begin(channel);
    // The tab opens after this handler, at the address that the link has then.
    setTimeout(() => this.#channel === channel && this.#renew());
  }

  /** A nonce serves one tab. */
  #renew() {
    const once = nonce();
    this.link.href = `${this.#page.callback}#go=${once}`;
    const channel = listen(`mcpnb-go-${once}`, ({ kind }) => {
      if (kind === "ready") this.begin(channel);
      if (kind === "ready" && this.#channel === channel) this.#renew();
    });
    this.#channel = channel;
  }

  close() {
    this.#channel?.close();
  }
}

/** Takes what the callback page hands over, as often as it repeats it, and passes it on once. */
class Answers {
  #line;
  #channel;
  /** Answer to what became of it; null: not known yet. */
  #outcomes = new Map();

  constructor(name, line) {
    this.name = name;
    this.#line = line;
    this.#channel = listen(name, (message) => this.#take(message));
  }

  #take({ kind, text }) {
    if (kind !== "answer" || typeof text !== "string" || text.length > LONGEST_ANSWER) return;
    this.#tell({ kind: "ack" });
    if (this.#outcomes.has(text)) return this.#tell(this.#outcomes.get(text));
    this.#outcomes.set(text, null);
    const pass = (reply) => {
      this.#outcomes.set(text, { ...reply, kind: "outcome" });
      this.#tell(this.#outcomes.get(text));
    };
    this.#line.send("answer", {}, pass, text);
  }

  #tell(message) {
    if (message) this.#channel?.postMessage(message);
  }

  close() {
    this.#channel?.close();
    this.#channel = null;
    this.#outcomes.clear();
  }
}

// ---- the panel -------------------------------------------------------------------------------

class Panel {
  /** @type {any} the newest state, or null as long as none has come */
  #state = null;
  #page = null;
  /** Null until the first state decides. */
  #folded = null;
  /** Tabs that were opened from here: channel to the phase before, and whether it has changed. */
  #tabs = new Map();
  /** @type {Answers | null} */
  #answers = null;
  #memoryOnly = null;

  constructor(model, el) {
    this.line = new Line(model, () => this.#show());
    this.#build();
    this.#listen(model);
    el.append(this.root);
    // Jupyter's own mark of views whose kernel is gone already when they are made.
    if (el.classList.contains("jupyter-widgets-disconnected")) this.line.setLive(false);
    else this.#hello();
  }

  async #hello() {
    this.#page = await whereAmI();
    for (const launcher of this.launchers) launcher.place(this.#page);
    this.#sayHello();
    this.#show();
  }

  /**
   * Once more for each `ping` without an answer: JupyterLab sends a widget's first words to the
   * kernel's main shell, where they wait for the running cell, and only from a moment later on past
   * it, to a subshell (4.6 with ipykernel 7, measured).
   */
  #sayHello() {
    this.line.send("hello", { page: this.#page });
  }

  #listen(model) {
    const panel = this;
    const receive = (message) => this.#receive(message ?? {});
    // anywidget calls with the view as `this`, which is the only way to its `comm_live` from here.
    function revive() {
      const live = this?.model?.comm_live;
      if (typeof live === "boolean") panel.line.setLive(live);
      if (live !== false) panel.#hello();
    }
    model.on("msg:custom", receive);
    model.on("comm_live_update", revive);
    const end = new AbortController();
    const on = (type, react) => addEventListener(type, react, { signal: end.signal });
    on("online", () => this.#hello());
    on("offline", () => this.#show());
    on("pageshow", (event) => event.persisted && this.#hello());
    on("pagehide", () => this.line.live && this.line.send("bye"));
    const clock = setInterval(() => this.#showTime(), 20_000);
    this.close = () => {
      model.off("msg:custom", receive);
      model.off("comm_live_update", revive);
      end.abort();
      clearInterval(clock);
      if (this.line.live) this.line.send("bye");
      const open = [this.line, ...this.launchers, ...this.#tabs.keys(), this.#answers];
      for (const it of open) it?.close();
      this.root.remove();
    };
  }

  #receive(message) {
    const unanswered = this.#page && this.line.waits && !this.#state;
    if (message.kind === "ping" && unanswered) return this.#sayHello();
    if (message.kind !== "state") return this.line.receive(message);
    const { state } = message;
    const before = this.#state;
    if (typeof state?.serial !== "number" || state.serial < (before?.serial ?? 0)) return;
    this.#state = state;
    this.#folded ??= state.phase === "signed_in";
    for (const [channel, tab] of this.#tabs) {
      tab.moved ||= state.phase !== tab.from;
      this.#inform(channel);
    }
    this.#awaitAnswer();
    this.#show(before);
    // Somebody put the page there: links can lead to it from now on.
    if (before?.jupyter?.page_missing && !state.jupyter?.page_missing) this.#hello();
  }

  // -- what a person does

  #act(action, content = {}) {
    this.line.send("act", { action, ...content });
  }

  /** A launcher was pressed, or its tab asks what to do. */
  #begin(channel, action, content = {}) {
    if (channel === null || !this.#tabs.has(channel)) {
      if (channel) this.#tabs.set(channel, { from: this.#state.phase, moved: false });
      this.#act(action, content);
    }
    if (channel) this.#inform(channel);
  }

  #beginSignIn(channel) {
    const content = { page: this.#page, memory_only: this.memory.checked, via: "auto" };
    this.#begin(channel, "sign_in", content);
  }

  #askTools() {
    const known = this.#state?.login?.tools_state;
    if (this.tools.open && known !== "ready" && known !== "loading") this.#act("tools");
  }

  #paste(event) {
    event.preventDefault();
    const text = this.pasted.value.trim();
    this.#clearPaste();
    if (!text) return this.pasted.focus();
    const tell = (reply) => {
      if (reply.outcome === "done") return;
      say(this.pasteReply, [reply.title, reply.text].filter(Boolean).join(" "));
      lead(this.goOn, reply.outcome === "again" ? reply.location : null);
    };
    this.line.send("paste", {}, tell, text);
  }

  #clearPaste() {
    this.pasted.value = "";
    say(this.pasteReply, "");
    lead(this.goOn, null);
  }

  // -- other tabs

  /** Tells a tab that was opened from here what to do: wait, go to the sign-in page, or end. */
  #inform(channel) {
    const { phase, wait, headline, detail, error } = this.#state;
    const active = ACTIVE.includes(phase);
    const url = webAddress(wait?.url)?.href;
    if (active && url) {
      channel.postMessage({ kind: "go", url });
    } else if (active || !this.#tabs.get(channel).moved) {
      channel.postMessage({ kind: "wait", text: this.#trouble() || headline });
    } else {
      const good = ["signed_in", "no_sign_in"].includes(phase);
      channel.postMessage({ kind: "end", title: headline, text: error?.text || detail, good });
      setTimeout(() => this.#tabs.delete(channel) && channel.close(), LINGER);
    }
  }

  /** Listens for the answer of the sign-in that is waited for, not for one that is over. */
  #awaitAnswer() {
    const { phase, wait } = this.#state;
    const name = this.#answers?.name ?? "";
    const state = webAddress(wait?.url)?.searchParams.getAll("state").at(-1);
    const wanted = !ACTIVE.includes(phase) ? "" : state ? `mcpnb-answer-${state}` : name;
    if (wanted === name) return;
    const last = this.#answers;
    if (last) setTimeout(() => last.close(), LINGER); // its tab still waits for the outcome
    this.#answers = wanted ? new Answers(wanted, this.line) : null;
  }

  // -- what is there

  #build() {
    const act = (action) => () => this.#act(action);
    const begin = (action) => (channel) => this.#begin(channel, action);
    this.signIn = new Launcher(WORDS.signIn, (tab) => this.#beginSignIn(tab), "button.primary");
    this.more = new Launcher(WORDS.addPermissions, begin("add_permissions"));
    this.asOther = new Launcher(WORDS.otherAccount, begin("another_account"));
    this.launchers = [this.signIn, this.more, this.asOther];
    this.open = tabLink(WORDS.openPage, "button.primary");
    this.cancel = button(WORDS.cancel, act("cancel"));
    this.signOut = button(WORDS.signOut, act("sign_out"));
    this.time = h("span.time");
    this.error = h("p.error");
    this.next = h("p.next");
    this.notes = h("ul.notes");
    this.missing = h("p.missing");
    const byPort = () => this.#act("another_way", { via: "loopback" });
    this.errorPage = button(WORDS.errorPage, byPort, "small");
    this.actions = h("div.actions", {}, this.signIn.node, this.open, this.cancel, this.more.node,
      this.asOther.node, this.signOut, this.time);
    this.body = h("div.body", {}, this.#buildRoute(), this.error, this.next, this.notes,
      this.missing, this.#buildFacts(), this.#buildCode(), this.actions,
      this.#buildTunnel(), this.#buildPaste(), this.#buildDevice(), this.errorPage, this.#buildTools(),
      this.#buildJupyter(act("install")));
    this.trouble = h("p.trouble");
    // JupyterLab's shortcuts come before any handler of ours, but heed this attribute.
    const about = { role: "group", "data-lm-suppress-shortcuts": "true" };
    this.root = h("section.mcpnb-panel", about, this.#buildHead(), this.trouble, this.body);
    const keep = (event) => event.stopPropagation();
    for (const type of ["keydown", "keypress", "keyup"]) this.root.addEventListener(type, keep);
  }

  #buildHead() {
    this.headline = h("p.headline", { role: "heading", "aria-level": "3", tabindex: "-1" });
    this.host = h("span.host");
    this.detail = h("p.detail");
    const toggle = () => ((this.#folded = !this.#folded), this.#show());
    this.fold = h("button.fold", { type: "button", click: toggle },
      h("span.unseen", {}, WORDS.details), icon("chevron"));
    return h("div.head", {},
      h("span.mark", {}, icon("lock"), icon("check"), icon("cross")),
      h("div.said", {}, h("div", { role: "status", "aria-live": "polite" }, this.headline),
        this.host, this.detail),
      this.fold);
  }

  /** The way from the notebook to the server, by the authorization server. */
  #buildRoute() {
    const stop = (name) => {
      const [title, about] = [h("b"), h("span.about")];
      const circle = h("span.circle", {}, icon(name));
      return { title, about, node: h(`li.${name}`, {}, circle, h("span.name", {}, title, about)) };
    };
    this.stops = { notebook: stop("notebook"), lock: stop("lock"), server: stop("server") };
    return h("ol.route", {}, ...Object.values(this.stops).map(({ node }) => node));
  }

  #buildFacts() {
    this.permissions = h("ul.permissions");
    this.permissionsNote = h("p.quiet");
    this.kept = h("p");
    this.who = h("p.quiet");
    this.memory = h("input", { type: "checkbox" });
    this.memoryRow = h("label.check", {}, this.memory, h("span", {}, WORDS.memoryOnly));
    this.facts = h("div.facts", {},
      h("div.fact", {}, h("div.title", {}, h("h4", {}, WORDS.permissions), this.permissionsNote),
        this.permissions),
      h("div.fact", {}, h("h4", {}, WORDS.kept), this.kept, this.who, this.memoryRow));
    return this.facts;
  }

  #buildCode() {
    this.code = new Copyable();
    this.codeBox = h("div.code", {}, h("p", {}, WORDS.code), this.code.node);
    return this.codeBox;
  }

  #buildPaste() {
    const help = h("p", { id: `mcpnb-${nonce()}` }, WORDS.paste);
    this.pasted = h("input", { type: "password", autocomplete: "off", spellcheck: "false",
      "aria-label": WORDS.pasteField, "aria-describedby": help.id });
    this.pasteReply = h("p.reply", { role: "alert" });
    this.goOn = tabLink(WORDS.goOn);
    const form = h("form.paste", { submit: (event) => this.#paste(event) }, help,
      h("div.row", {}, this.pasted, h("button.button", {}, WORDS.pasteButton)), this.pasteReply,
      this.goOn);
    this.paste = h("details", {}, h("summary", {}, WORDS.pasteFold), form);
    return this.paste;
  }

  #buildTunnel() {
    this.ssh = new Copyable();
    this.sshBox = h("div.ssh", {}, h("p", {}, WORDS.ssh), this.ssh.node);
    return this.sshBox;
  }

  #buildDevice() {
    this.qr = h("div.frame");
    this.deviceText = h("p");
    this.deviceLink = h("a", { target: "_blank", rel: "noopener noreferrer" });
    const begin = () => this.#act("another_way", { via: "device" });
    this.deviceCode = button(WORDS.deviceCode, begin, "small");
    const about = h("div", {}, this.deviceText, h("p.address", {}, this.deviceLink), this.deviceCode);
    this.device = h("details", { toggle: () => this.#askCode() },
      h("summary", {}, WORDS.otherDevice), h("div.device", {}, this.qr, about));
    return this.device;
  }

  /** The code is drawn by the kernel, for those who look at it. */
  #askCode() {
    const device = this.#state?.wait?.other_device;
    if (this.device.open && device && !device.qr) this.#act("draw");
  }

  #buildTools() {
    this.toolsText = h("p.quiet");
    this.toolList = h("ul.tools", { tabindex: "0", "aria-label": WORDS.tools });
    this.tools = h("details", { toggle: () => this.#askTools() }, h("summary", {}, WORDS.tools),
      this.toolsText, this.toolList);
    return this.tools;
  }

  #buildJupyter(click) {
    this.jupyterText = h("p");
    this.install = button(WORDS.install, click, "small");
    this.jupyter = h("div.aside", {}, this.jupyterText, this.install);
    return this.jupyter;
  }

  // -- showing it

  #trouble() {
    if (!this.line.trouble && !navigator.onLine && this.#goesOut()) return WORDS.offline;
    return WORDS[this.line.trouble] ?? "";
  }

  /** Whether this browser has to reach another machine: without a network it calls itself offline
   *  (measured), and servers on the person's own machine are there all the same. */
  #goesOut() {
    const { phase, server, authorization_server: issuer } = this.#state ?? {};
    return !AT_REST.includes(phase) && !OWN_MACHINE.test((issuer ?? server)?.host ?? "");
  }

  /** Shows everything anew, in place: whatever has the focus or is being typed stays. */
  #show(before = this.#state) {
    const focused = this.root.getRootNode().activeElement;
    const inside = this.root.contains(focused);
    const state = this.line.live ? this.#state : null;
    const folded = state?.phase === "signed_in" && this.#folded && !state.error;
    this.root.dataset.phase = state?.phase ?? "none";
    this.root.toggleAttribute("data-folded", folded);
    this.body.hidden = state === null || folded;
    this.root.hidden = state === null && !this.#trouble();
    // Without a state there is nothing to do here, and what is wrong is all there is to say.
    say(this.trouble, state ? this.#trouble() : "");
    this.#showHead(state ?? { headline: this.#trouble(), server: this.#state?.server }, folded);
    if (state) {
      this.#showRoute(state);
      this.#showFacts(state);
      this.#showActions(state);
      this.#showLogin(state);
    }
    this.#showWait(state?.wait, before?.wait);
    if (inside) this.#keepFocus(focused, before);
  }

  /** Focus moves only if it was in here, and what had it has gone or the sign-in is over. */
  #keepFocus(focused, before) {
    const over = ACTIVE.includes(before?.phase) && !ACTIVE.includes(this.#state?.phase);
    const gone = focused.getClientRects().length === 0;
    if (focused === this.headline && !before?.wait?.url && !this.open.hidden) this.open.focus();
    else if (over || gone) this.headline.focus();
  }

  #showHead({ headline, detail, phase, server, account, login }, folded) {
    const host = server?.host ?? "";
    this.root.setAttribute("aria-label", WORDS.group(host));
    say(this.headline, headline);
    const more = [!headline.includes(host) && host, account && `“${account}”`];
    say(this.host, folded ? more.filter(Boolean).join(" ") : "");
    say(this.detail, [detail, login?.renews].filter(Boolean).join(" "));
    this.fold.hidden = phase !== "signed_in";
    this.fold.setAttribute("aria-expanded", String(!folded));
  }

  #showRoute({ server, authorization_server: issuer, account, phase }) {
    const { notebook, lock, server: target } = this.stops;
    const asks = phase === "signed_in" ? WORDS.issuerAsked : WORDS.issuerAsks;
    const claim = server.claim && WORDS.claim(server.claim);
    const name = server.name && WORDS.configured(server.name);
    say(notebook.title, WORDS.notebook);
    say(notebook.about, account && `“${account}”`);
    say(lock.title, issuer?.host ?? WORDS.issuer);
    say(lock.about, issuer ? asks : WORDS.issuerUnknown);
    lock.node.title = issuer?.issuer ?? "";
    lock.node.hidden = phase === "no_sign_in";
    say(target.title, server.host);
    say(target.about, [claim, name].filter(Boolean).join("\n"));
    target.node.title = server.url;
  }

  #showFacts(state) {
    const asks = ["signed_out", "failed"].includes(state.phase);
    // What is asked for is read before the click; afterwards what is waited for comes first.
    const next = asks ? this.codeBox : this.jupyter;
    if (this.facts.nextSibling !== next) this.body.insertBefore(this.facts, next);
    this.facts.hidden = ["no_sign_in", "unusable"].includes(state.phase);
    fill(this.permissions, state.permissions, (name) => h("li", {}, h("code", {}, name)));
    say(this.permissionsNote, state.permissions_note);
    say(this.kept, state.kept);
    say(this.who, state.who);
    this.memoryRow.hidden = !asks || !state.memory_only_possible;
    if (state.memory_only !== this.#memoryOnly) this.memory.checked = state.memory_only;
    this.#memoryOnly = state.memory_only;
    fill(this.notes, state.notes, (note) => h("li", {}, note));
    say(this.error, state.error?.text);
    say(this.next, state.error?.next);
  }

  #showActions({ phase, login, jupyter, wait }) {
    const signedIn = phase === "signed_in";
    const again = phase === "failed";
    const offered = (again || phase === "signed_out") && this.#page !== null;
    const missing = (signedIn && login?.missing) || [];
    this.signIn.show(offered, again ? WORDS.signInAgain : WORDS.signIn);
    this.more.show(missing.length > 0);
    this.asOther.show(signedIn);
    say(this.missing, missing.length ? WORDS.missing(missing) : "");
    lead(this.open, wait?.url);
    this.cancel.hidden = !ACTIVE.includes(phase);
    this.signOut.hidden = !signedIn;
    say(this.jupyterText, jupyter?.text);
    this.jupyter.hidden = !jupyter?.text;
    this.install.hidden = !jupyter?.page_missing;
  }

  #showWait(wait, before) {
    if (!wait?.can_paste || wait.url !== before?.url) this.#clearPaste();
    this.paste.hidden = !wait?.can_paste;
    // The relay brings the answer by itself nearly always; any other way may need the box.
    if (wait?.way !== before?.way) this.paste.open = wait?.way !== "page";
    this.codeBox.hidden = !wait?.user_code;
    say(this.code.text, wait?.user_code);
    this.sshBox.hidden = !wait?.ssh_line;
    say(this.ssh.text, wait?.ssh_line);
    this.errorPage.hidden = !wait?.offers_loopback;
    this.#showDevice(wait?.other_device, webAddress(wait?.url)?.href);
    this.#showTime();
  }

  #showTime() {
    const expires = this.#state?.wait?.expires_at ?? 0;
    const left = Math.ceil((expires - Date.now() / 1000) / 60);
    // The clocks of kernel and browser may differ: better nothing than nonsense.
    say(this.time, left > 0 && left <= 60 ? WORDS.minutesLeft(left) : "");
  }

  #showDevice(device, url) {
    this.device.hidden = !device;
    say(this.deviceText, device?.text);
    say(this.deviceLink, url);
    lead(this.deviceLink, url);
    fill(this.qr, url && device?.qr ? [{ rows: device.qr, url }] : [], qrCode);
    this.deviceCode.hidden = !device?.can_begin_device;
  }

  #showLogin({ phase, login }) {
    const shows = phase === "signed_in" && login !== null;
    this.tools.hidden = !shows;
    if (!shows) this.tools.open = false;
    const loading = login?.tools_state === "loading" ? WORDS.toolsLoading : "";
    say(this.toolsText, login?.tools_text || loading);
    const tool = ({ name, description }) =>
      h("li", {}, h("code", {}, name), h("span", {}, description ?? ""));
    fill(this.toolList, login?.tools ?? [], tool);
  }
}

export default {
  render({ model, el }) {
    const panel = new Panel(model, el);
    return () => panel.close();
  },
};
