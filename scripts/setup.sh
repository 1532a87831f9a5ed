# Shared by the scripts beside it: finds Python, makes .venv and installs into it what the project needs.
# Plain sh, to be sourced from the root of the repository. Needs the network only for pip and, as root, for apt.

VENV=.venv
VENV_PYTHON=$VENV/bin/python
STAMP=$VENV/.setup-stamp
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# runs PYTHON MODULES: this Python starts, is at least 3.11 and has the modules. A pyenv shim of a version that is not
# selected exists and fails; so does a Python that was built without sqlite.
runs() {
    "$1" -c "import sys; sys.version_info >= (3, 11) or sys.exit(1); import $2" >/dev/null 2>&1
}

# find_on_path NAME MODULES: prints the first executable of that name on PATH that runs, not merely the first one.
find_on_path() {
    saved_ifs=$IFS
    IFS=:
    for folder in $PATH; do
        IFS=$saved_ifs
        candidate=${folder:-.}/$1
        if [ -x "$candidate" ] && [ ! -d "$candidate" ] && runs "$candidate" "$2"; then
            # The real interpreter: a venv made from a shim would depend on the shim's settings.
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    IFS=$saved_ifs
    return 1
}

# find_python: prints a Python >= 3.11, one that can make a venv by itself if there is any. PYTHON=path overrides.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        runs "$PYTHON" sqlite3 || return 1
        "$PYTHON" -c 'import sys; print(sys.executable)'
        return 0
    fi
    for modules in 'venv, ensurepip, sqlite3, ssl' 'sqlite3, ssl'; do
        for name in python3.13 python3.12 python3.11 python3; do
            find_on_path "$name" "$modules" && return 0
        done
    done
    return 1
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

apt_install() {
    say "Installing Debian packages: $*"
    apt_log=$(mktemp)
    if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$apt_log" 2>&1; then
        rm -f "$apt_log"
        return 0
    fi
    tail -n 5 "$apt_log" >&2
    rm -f "$apt_log"
    return 1
}

# need_commands COMMAND[=PACKAGE] ...: installs what is missing when that is possible, else names it and goes on.
need_commands() {
    packages=''
    missing=''
    for need in "$@"; do
        if ! command -v "${need%%=*}" >/dev/null 2>&1; then
            missing="$missing ${need%%=*}"
            packages="$packages ${need#*=}"
        fi
    done
    [ -n "$missing" ] || return 0
    # The list of packages is split on purpose.
    # shellcheck disable=SC2086
    if can_apt && apt_install $packages; then
        return 0
    fi
    say "Not found:$missing. What needs them will say so (Debian: apt-get install$packages)."
}

# give_pip PYTHON: puts pip into a .venv that has none, with the help of any pip there is.
give_pip() {
    "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 && return 0
    "$VENV_PYTHON" -m ensurepip >/dev/null 2>&1 && return 0
    wheels=$(mktemp -d)
    for pip in "$1 -m pip" pip3 pip; do
        # A wheel of pip runs from its own file: whose pip fetched it, and how old that one is, does not matter.
        # shellcheck disable=SC2086
        if $pip download --quiet --no-deps --dest "$wheels" pip >/dev/null 2>&1; then
            for wheel in "$wheels"/pip-*.whl; do
                "$VENV_PYTHON" "$wheel/pip" install --quiet --no-index "$wheel" >/dev/null 2>&1 || true
            done
            "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 && break
        fi
    done
    rm -rf "$wheels"
    "$VENV_PYTHON" -m pip --version >/dev/null 2>&1
}

# make_venv PYTHON: Debian's python3 comes without ensurepip, so `python -m venv` alone is not enough.
make_venv() {
    rm -rf "$VENV"
    "$1" -m venv "$VENV" >/dev/null 2>&1 && return 0
    rm -rf "$VENV"
    "$1" -m venv --without-pip "$VENV" >/dev/null 2>&1 && give_pip "$1" && return 0
    rm -rf "$VENV"
    minor=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if can_apt && { apt_install "python$minor-venv" || apt_install python3-venv; }; then
        "$1" -m venv "$VENV" >/dev/null 2>&1 && return 0
        rm -rf "$VENV"
    fi
    say "$1 cannot make a virtual environment: it has neither ensurepip nor pip."
    say "Debian and Ubuntu: apt-get install python$minor-venv    Fedora: dnf install python3-pip"
    die "Then run this again."
}

# setup: .venv with the project and its development tools. Done once, and again when pyproject.toml has changed.
setup() {
    wanted="$(pwd -P) $(cksum <pyproject.toml)"
    if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$wanted" ] && runs "$VENV_PYTHON" venturekit; then
        return 0
    fi
    python=$(find_python) || die "VentureKit needs Python 3.11 or newer with sqlite3 and ssl, and found none that runs
(looked for \$PYTHON, then python3.13, python3.12, python3.11 and python3 on PATH).
Debian 12 and Ubuntu 24.04: apt-get install python3 python3-venv    or install one with pyenv or uv."
    # Scripts inside a venv hold its path: one that was moved or copied here is made anew.
    if ! runs "$VENV_PYTHON" sqlite3 || ! grep -qF "$(pwd -P)/$VENV" "$VENV/bin/activate" 2>/dev/null; then
        say "Making $VENV with $python"
        make_venv "$python"
    fi
    give_pip "$python" || die "$VENV has no pip, and none was found to install it with. Remove $VENV and run this again."
    say "Installing the project and its tools into $VENV (once)"
    rm -f "$STAMP"
    # Dependency groups need pip 25.1.
    "$VENV_PYTHON" -m pip install -qq --upgrade 'pip>=25.1' || die "pip could not be upgraded: see the lines above."
    "$VENV_PYTHON" -m pip install -qq --editable '.[local]' --group dev ||
        die "The dependencies could not be installed: see pip's lines above, then run this again."
    printf '%s\n' "$wanted" >"$STAMP"
}

# setup_javascript: what tests use of npm's packages, into a folder beside their list: AWS's SDK and runtime clients.
# Done once, and again when the list has changed. Without npm or g++ it says so and goes on.
setup_javascript() {
    folder=tests/javascript
    stamp=$folder/node_modules/.setup-stamp
    wanted=$(cat "$folder/package.json" "$folder/package-lock.json" "$folder/runtime_clients.py" | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    command -v npm >/dev/null 2>&1 || {
        say "Not found: npm. Tests with packages of npm will say so."
        return 0
    }
    say "Installing the packages of npm that tests use into $folder/node_modules (once)"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2) ||
        die "npm's packages could not be installed: see its lines above, then run this again."
    if "$VENV_PYTHON" "$folder/runtime_clients.py"; then
        printf '%s\n' "$wanted" >"$stamp"
    fi
}
