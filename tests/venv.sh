# Sourced by tests/run and notebooks/demo: makes their virtual environments.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

as_root_with_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# apt_install PACKAGE...: the lists of packages are only fetched when they are too old, or not there.
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    { apt-get install -qq -y --no-install-recommends "$@" ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; }
    } >/dev/null 2>&1
}

# Print the first Python that is new enough; $PYTHON is asked first.
find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        "$name" -c 'import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys.executable)' \
            2>/dev/null && return
    done
    say "mcpnb needs Python 3.11 or newer, and there is none on PATH."
    say "Install one, or name it: PYTHON=/path/to/python3 $0"
    return 1
}

# new_venv PYTHON FOLDER: an empty environment with pip in it.
new_venv() {
    local python=$1 folder=$2 package
    rm -rf "$folder"
    "$python" -m venv "$folder" >/dev/null 2>&1 && return

    # Debian and Ubuntu keep `ensurepip` in a package of its own; a pip from elsewhere does as well.
    rm -rf "$folder"
    if "$python" -m venv --without-pip "$folder" 2>/dev/null &&
        "$python" -m pip --python "$folder/bin/python" install -q pip 2>/dev/null; then
        return
    fi
    rm -rf "$folder"
    "$python" -m virtualenv -q "$folder" 2>/dev/null && return

    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if as_root_with_apt; then
        say "$python cannot make virtual environments: installing $package"
        apt_install "$package"
        rm -rf "$folder"
        "$python" -m venv "$folder" && return
    fi
    say "$python cannot make a virtual environment, because it has no \`ensurepip\` and no pip."
    say "On Debian and Ubuntu: sudo apt-get install $package. Or name another one with PYTHON=..."
    return 1
}

# ready_venv FOLDER EXTRAS [-e]: install the project into FOLDER, unless just that is there already.
# With -e the environment follows the checkout; else it has what a wheel has, made anew from changed
# sources.
ready_venv() {
    local folder=$1 extras=$2 editable=${3:-} python stamp
    python=$(find_python) || return 1
    stamp=$(
        "$python" -VV
        printf '%s\n' "$folder" "$extras" "$editable"
        cksum pyproject.toml README.md
        [ -n "$editable" ] || find mcpnb notebooks -type f ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort
    )
    [ "$(cat "$folder/mcpnb-stamp" 2>/dev/null)" = "$stamp" ] && return

    say "Installing mcpnb[$extras] into $folder"
    if [ "$("$folder/bin/python" -VV 2>/dev/null)" != "$("$python" -VV)" ]; then
        new_venv "$python" "$folder" || return 1
    fi
    rm -f "$folder/mcpnb-stamp"
    if ! "$folder/bin/python" -m pip install -q --no-compile --disable-pip-version-check \
        ${editable:+"$editable"} ".[$extras]"; then
        say "pip could not install mcpnb (above). It needs a package index once; then this works offline."
        return 1
    fi
    printf '%s\n' "$stamp" >"$folder/mcpnb-stamp"
}

# ready_packages FOLDER REQUIREMENT...: an environment with just that.
ready_packages() {
    local folder=$1 python stamp
    shift
    python=$(find_python) || return 1
    stamp=$("$python" -VV && printf '%s\n' "$folder" "$@")
    [ "$(cat "$folder/mcpnb-stamp" 2>/dev/null)" = "$stamp" ] && return

    say "Installing $* into $folder"
    new_venv "$python" "$folder" || return 1
    "$folder/bin/python" -m pip install -q --no-compile --disable-pip-version-check "$@" || return 1
    printf '%s\n' "$stamp" >"$folder/mcpnb-stamp"
}
