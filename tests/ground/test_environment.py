"""The environment is told by its variables: what it is called, and where the browser is."""

from __future__ import annotations

import pytest

from mcpnb.environment import Browser, Environment, current, detect

SSH = {"SSH_CONNECTION": "203.0.113.5 50122 192.0.2.7 22", "USER": "ada"}
DISPLAY = {"DISPLAY": ":0"}
HUB = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JPY_PARENT_PID": "7"}
CODESPACE = {
    "CODESPACES": "true",
    "CODESPACE_NAME": "fuzzy-space",
    "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev",
    "VSCODE_IPC_HOOK_CLI": "/tmp/x.sock",  # noqa: S108  a value, nothing is opened
}
PLACES: dict[str, tuple[dict[str, str], str, Browser]] = {
    "a desktop": (DISPLAY, "terminal", "here"),
    "Wayland": ({"WAYLAND_DISPLAY": "wayland-0"}, "terminal", "here"),
    "SSH": (SSH, "ssh", "elsewhere"),
    "SSH with a forwarded display": (SSH | DISPLAY, "ssh", "elsewhere"),
    "a machine without a display": ({}, "no-display", "elsewhere"),
    "a container by Podman": ({"container": "podman"} | DISPLAY, "container", "elsewhere"),
    "a pod": ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "container", "elsewhere"),
    "Toolbox": ({"container": "oci", "TOOLBOX_PATH": "/x"} | DISPLAY, "terminal", "here"),
    "Flatpak": ({"container": "flatpak", "FLATPAK_ID": "x"} | DISPLAY, "terminal", "here"),
    "WSL": ({"WSL_DISTRO_NAME": "Ubuntu"}, "wsl", "here"),
    "JupyterHub": (HUB, "jupyterhub", "elsewhere"),
    "Binder": (HUB | {"BINDER_REPO_URL": "https://x.example"}, "binder", "elsewhere"),
    "Codespaces": (CODESPACE, "codespaces", "elsewhere"),
    "VS Code": ({"TERM_PROGRAM": "vscode"} | DISPLAY, "vscode", "here"),
    "VS Code over SSH": (SSH | {"TERM_PROGRAM": "vscode"}, "vscode-remote", "forwarded"),
    "a dev container": ({"REMOTE_CONTAINERS": "true"}, "devcontainer", "forwarded"),
    "code-server": ({"VSCODE_PROXY_URI": "https://x/{{port}}/"}, "code-server", "elsewhere"),
    "Colab": ({"COLAB_RELEASE_TAG": "release"}, "colab", "elsewhere"),
    "Colab Enterprise": ({"VERTEX_PRODUCT": "COLAB_ENTERPRISE"}, "colab", "elsewhere"),
    "Vertex": ({"VERTEX_PRODUCT": "WORKBENCH_INSTANCE"}, "vertex", "elsewhere"),
    "Databricks": ({"DATABRICKS_RUNTIME_VERSION": "17"}, "databricks", "elsewhere"),
    "Kaggle": ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "kaggle", "elsewhere"),
    "Workstations": ({"WEB_HOST": "a.cloudworkstations.dev"}, "workstation", "elsewhere"),
    "some web host": ({"WEB_HOST": "shop.example"} | DISPLAY, "terminal", "here"),
    "Voilà": ({"SERVER_SOFTWARE": "voila/0.5"} | DISPLAY, "voila", "elsewhere"),
    "Jupyter on a desktop": ({"JPY_PARENT_PID": "7"} | DISPLAY, "jupyter", "unknown"),
    "Jupyter started over SSH": ({"JPY_PARENT_PID": "7"} | SSH, "jupyter", "elsewhere"),
    "Jupyter on a server": ({"JPY_SESSION_NAME": "a.ipynb"}, "jupyter", "elsewhere"),
    "variables that are empty": ({"SSH_TTY": "", "CODESPACES": ""} | DISPLAY, "terminal", "here"),
    "credentials for Kaggle": ({"KAGGLE_USERNAME": "ada"} | DISPLAY, "terminal", "here"),
}


@pytest.mark.parametrize(("environ", "kind", "browser"), PLACES.values(), ids=PLACES.keys())
def test_a_place_is_told_by_its_variables(
    environ: dict[str, str], kind: str, browser: Browser
) -> None:
    found = detect(environ)

    assert (found.kind, found.browser) == (kind, browser)
    assert found.name
    assert all(by for kind, by in found.signs.items() if kind != "terminal")


def test_files_and_modules_tell_what_variables_do_not() -> None:
    """Docker sets none, and a kernel is loaded before anything of ours."""
    docker = detect(DISPLAY, exists=lambda path: path == "/.dockerenv")
    podman = detect(DISPLAY, exists=lambda path: path == "/run/.containerenv")
    kernel = detect(DISPLAY, modules={"ipykernel.kernelapp"})
    colab = detect(DISPLAY, modules={"google.colab"})

    assert docker.signs == {"container": "/.dockerenv"}
    assert podman.signs == {"container": "/run/.containerenv"}
    assert kernel.in_notebook
    assert colab.in_notebook
    assert not docker.in_notebook


def test_a_module_that_has_the_name_of_a_variable_tells_nothing() -> None:
    """`container` is set by podman and systemd-nspawn, and may be a module of anybody's own."""
    assert detect(DISPLAY, modules={"container"}).kind == "terminal"
    assert detect(DISPLAY | {"container": "podman"}).kind == "container"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_a_desktop_system_needs_no_variable_for_its_display(platform: str) -> None:
    assert detect({}, platform=platform).browser == "here"


def test_all_that_is_known_is_named_the_most_telling_first() -> None:
    found = detect(HUB | {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})

    assert found.name == "JupyterHub, a Jupyter kernel, a container, no display"
    assert found.has("container")


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (SSH, "ssh -N -L 27182:127.0.0.1:27182 ada@192.0.2.7"),
        (
            SSH | {"SSH_CONNECTION": "::1 1 2001:db8::7 2222"},
            "ssh -N -L 27182:127.0.0.1:27182 -p 2222 ada@2001:db8::7",
        ),
        ({"SSH_TTY": "/dev/pts/1"}, "ssh -N -L 27182:127.0.0.1:27182 box"),
        ({"SSH_CONNECTION": "a; rm -rf ~ b c"}, "ssh -N -L 27182:127.0.0.1:27182 box"),
        (SSH | {"USER": "$(id)"}, "ssh -N -L 27182:127.0.0.1:27182 '$(id)@192.0.2.7'"),
    ],
)
def test_the_line_that_forwards_the_port_can_be_pasted(environ: dict[str, str], line: str) -> None:
    assert detect(environ, host="box").ssh_line(27182) == line


def test_a_host_that_is_not_known_is_left_to_the_person() -> None:
    assert detect({}).ssh_line(1).endswith(" HOST")


def test_an_address_that_leads_to_a_port_is_known_where_the_place_gives_one() -> None:
    codespace = detect(CODESPACE)
    workstation = detect({"WEB_HOST": "a.cloudworkstations.dev"})
    odd = detect(CODESPACE | {"CODESPACE_NAME": "{x}"})

    assert codespace.callback_url(27182) == "https://fuzzy-space-27182.app.github.dev/callback"
    assert workstation.callback_url(9) == "https://9-a.cloudworkstations.dev/callback"
    assert odd.callback_url(9) == "https://{x}-9.app.github.dev/callback"
    assert detect(SSH).callback_url(27182) == ""


def test_this_process_is_somewhere() -> None:
    assert isinstance(current(), Environment)
    assert current().signs
