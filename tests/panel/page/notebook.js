// A notebook page with as much of anywidget as the panel uses. The kernel's part is played by the
// test: it reads `kernel.sent` and calls `kernel.says`.
import panel from "/panel.js";

const asked = new URLSearchParams(location.search);
const theme = asked.get("theme") ?? "light";
if (theme === "system") document.documentElement.style.colorScheme = "light dark";
else document.body.dataset.jpThemeLight = String(theme === "light");
if (asked.has("foreign")) document.getElementById("jupyter-config-data").remove();

/** What anywidget hands to `render`: handlers are called with the view as `this`. */
class Model {
  #handlers = [];
  comm_live = true;
  widget_manager = {};

  on(name, react) {
    this.#handlers.push([name, react]);
  }

  off(name, react) {
    this.#handlers = this.#handlers.filter(([n, r]) => n !== name || r !== react);
  }

  trigger(name, ...content) {
    for (const [n, react] of [...this.#handlers]) if (n === name) react.apply({ model: this }, content);
  }

  send(message, _callbacks, buffers = []) {
    if (!this.comm_live) throw new Error("Cannot send");
    const [text] = buffers.map((buffer) => new TextDecoder().decode(buffer));
    kernel.sent.push({ ...structuredClone(message), ...(text === undefined ? {} : { text }) });
    if (!kernel.busy) this.hear(message);
  }

  hear({ view, id }) {
    queueMicrotask(() => this.trigger("msg:custom", { kind: "heard", view, id }, []));
  }

  get listeners() {
    return this.#handlers.length;
  }
}

const model = new Model();
const cleanups = [];

window.kernel = {
  sent: [],
  busy: asked.has("busy"),
  model,
  says: (message) => model.trigger("msg:custom", message, []),
  state: (state) => kernel.says({ kind: "state", state }),
  acts: (name) => kernel.sent.filter(({ kind, action }) => kind === name || action === name),
  idle() {
    kernel.busy = false;
    kernel.sent.forEach((message) => model.hear(message));
  },
  dies(live = false) {
    model.comm_live = live;
    model.trigger("comm_live_update");
  },
  async show({ shadow = false, disconnected = false } = {}) {
    const cell = document.createElement("div");
    cell.className = "cell";
    document.body.append(cell);
    const el = document.createElement("div");
    if (disconnected) el.classList.add("jupyter-widgets-disconnected");
    if (shadow) {
      const root = cell.attachShadow({ mode: "open" });
      const style = document.createElement("style");
      style.textContent = await (await fetch("/panel.css")).text();
      root.append(style, el);
    } else {
      cell.append(el);
    }
    cleanups.push(await panel.render({ model, el }));
  },
  remove: () => cleanups.splice(0).forEach((cleanup) => cleanup()),
};
document.body.dataset.ready = "";
