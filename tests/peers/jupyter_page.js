// What the tests ask of the application on the page: JupyterLab and Notebook 7 expose it as
// `jupyterapp`. Only what a person would do through menus; whatever is clicked is clicked for real.
window.mcpnbTest = (() => {
  const runs = new Map(); // name -> "running", "done" or "failed: ..."
  const app = () => window.jupyterapp;
  const find = path =>
    app() && [...app().shell.widgets("main")].find(w => w.context?.path === path);
  const panel = path => {
    const found = find(path);
    if (!found) throw new Error(`no notebook ${path} is open`);
    return found;
  };
  const cell = (path, i) => panel(path).content.widgets[i];
  const kernel = path => panel(path).sessionContext.session?.kernel;

  // An action is begun here and waited for from outside, where there is a limit.
  const begin = (name, promise) => {
    runs.set(name, "running");
    promise.then(() => runs.set(name, "done"), error => runs.set(name, `failed: ${error}`));
  };
  const ended = name => {
    const state = runs.get(name);
    if (state?.startsWith("failed")) throw new Error(`${name} ${state}`);
    return state === "done";
  };

  // Ready is when the kernel has answered over the socket of this page, and nothing else runs.
  const answered = new WeakSet();
  const settled = () => !document.getElementById("jupyterlab-splash"); // it lies over everything
  const ready = path => {
    const open = find(path);
    if (!settled() || !open?.context.isReady || !open.sessionContext.isReady) return false;
    const its = kernel(path);
    if (!its) return false;
    if (!answered.has(its)) its.info.then(() => answered.add(its));
    return answered.has(its) && its.connectionStatus === "connected" && its.status === "idle";
  };

  const select = async (path, i) => {
    app().shell.activateById(panel(path).id);
    const notebook = panel(path).content;
    notebook.deselectAll();
    notebook.activeCellIndex = i;
    await notebook.scrollToItem(i);
  };
  const KEEP = "@jupyter-widgets/jupyterlab-manager:saveWidgetState";
  const keeps = () => app().commands.isToggled(KEEP); // follows when the setting has been stored
  const command = (id, args) => app().commands.execute(id, args);

  return {
    ready, ended, kernel,
    run: (path, i, name) => begin(name, select(path, i).then(() => command("notebook:run-cell"))),
    runAll: (path, name) => begin(name, select(path, 0).then(() => command("notebook:run-all-cells"))),
    restart: (path, name) => begin(name, panel(path).sessionContext.restartKernel()),
    save: (path, name) => begin(name, panel(path).context.save()),
    keepState: (on, name) => begin(name, keeps() === on ? Promise.resolve() : command(KEEP)),
    keeps: () => keeps(),
    outputs: (path, i) => cell(path, i).model.outputs.toJSON(),
  };
})();
