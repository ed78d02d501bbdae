# What scripts/run and scripts/test have in common. Sourced, from the root of the tree.

# Rust, also where it was installed a moment ago and is not on the PATH yet.
need_rust() {
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || { echo "$0: Rust is not installed: see https://rustup.rs" >&2; exit 1; }
}

# need_packages COMMAND:PACKAGE ... installs, by apt, the packages whose command is not there.
need_packages() {
    local pair missing=""
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || { echo "$0: please install what Debian calls:$missing" >&2; exit 1; }
    local root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "$0: please install, as root:$missing" >&2; exit 1; }
        root=sudo
    fi
    echo "installing$missing"
    $root apt-get update -q
    # shellcheck disable=SC2086  # several words each
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}
