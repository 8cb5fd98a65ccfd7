#!/usr/bin/env bash
# A machine on which nothing is installed but Python, make and git: a minimal Debian in a folder.
#
#   tests/fresh_root.sh bookworm            make the root; run `make demo`, the installation as
#                                           the README says with `k6d demo`, and `make test` in it
#   tests/fresh_root.sh trixie COMMAND…     make the root, run a command in the clone there
#
# What is cloned is HEAD of this repository; the clone is /root/k6d. The root is made anew each
# time, in ${ROOTS:-/tmp/roots}/SUITE. K6D_ROOT_EXTRA names further Debian packages, with commas.
# Needs root, mmdebstrap and the network (Debian, PyPI). Nothing stays mounted, no process stays.
set -euo pipefail

suite=${1:?name a suite of Debian: bookworm, trixie}
shift
repository=$(cd "$(dirname "$0")/.." && git rev-parse --show-toplevel)
installation=$(awk '
  /^```sh$/ { block = ""; inside = 1; next }
  /^```/ { if (block ~ /pip install/) printf "%s", block; block = ""; inside = 0 }
  inside { block = block $0 "\n" }' "$repository/README.md")
command=${*:-make demo
(
$installation
k6d demo
)
make test}
root=${ROOTS:-/tmp/roots}/$suite

[ "$(id -u)" = 0 ] || { echo "fresh_root.sh needs root: it makes a root folder and mounts /proc there" >&2; exit 2; }
command -v mmdebstrap >/dev/null || { echo "fresh_root.sh needs mmdebstrap: apt-get install mmdebstrap" >&2; exit 2; }

rm -rf --one-file-system "$root"
mkdir -p "$root"
packages=python3,python3-venv,make,git,ca-certificates${K6D_ROOT_EXTRA:+,$K6D_ROOT_EXTRA}
mmdebstrap --variant=minbase --include="$packages" "$suite" "$root"

# The network as this machine has it: names, certificates of a company of its own, pip's settings.
echo '127.0.0.1 localhost' >"$root/etc/hosts"
cp /etc/resolv.conf "$root/etc/resolv.conf"
for path in /etc/ssl/certs /usr/local/share/ca-certificates /etc/pip.conf /etc/xdg/pip; do
  if [ -e "$path" ]; then
    mkdir -p "$root$(dirname "$path")"
    cp -a "$path" "$root$(dirname "$path")/"
  fi
done
git clone --quiet --no-hardlinks "$repository" "$root/root/k6d"
git -C "$root/root/k6d" checkout --quiet --detach "$(git -C "$repository" rev-parse HEAD)"

mapfile -t kept < <(env | grep -E '^(PIP_|UV_|https?_proxy=|no_proxy=|HTTPS?_PROXY=|NO_PROXY=)' || true)
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Mounts and processes live in namespaces of their own, and end with the command.
exec unshare --mount --pid --fork --kill-child bash -euc '
  root=$1 command=$2
  shift 2
  mount --make-rprivate /
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  chroot "$root" /usr/bin/env -i "$@" HOME=/root bash -euc "cd /root/k6d; $command"
' fresh_root "$root" "$command" PATH="$path" "${kept[@]}"
