#!/usr/bin/env bash
# Installs what the named task needs and this machine lacks: install-tools.sh run | test | e2e | venv | deny
# Says what it installs; asks for sudo only when it is not root and something is missing.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# apt_need PROGRAM PACKAGE: installs PACKAGE where PROGRAM is not on the path.
apt_updated=
apt_need() {
  if command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; then return; fi
  echo "installing $2, which has $1"
  if [ -z "$apt_updated" ]; then as_root apt-get update -qq; apt_updated=yes; fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
  # Debian starts the servers it installs; the tests start their own, on ports of their own.
  case "$2" in
  postgresql) stop_postgresql ;;
  prosody | ejabberd | munge | slurmctld | slurmd | openssh-server | caddy)
    if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now "${2/openssh-server/ssh}"; fi ;;
  esac
}

# Called where PostgreSQL has just been installed: the empty cluster that Debian makes and starts with it goes again.
stop_postgresql() {
  if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now postgresql; fi
  pg_lsclusters -h | while read -r version name _; do as_root pg_dropcluster --stop "$version" "$name"; done
}

# apt_need_python MODULE PACKAGE: installs PACKAGE where Debian's Python lacks MODULE.
apt_need_python() {
  /usr/bin/python3 -c "import $1" 2>/dev/null || apt_need "python3 module $1" "$2"
}

# Its programs lie in a folder of their version, not on the path.
need_postgresql() {
  if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then return; fi
  apt_need "initdb of PostgreSQL" postgresql
}

# moto (S3) and its server, of PyPI: in a folder of its own, where the tests look for it.
need_moto() {
  local folder; folder="$(dirname "$0")/../target/tools/venv"
  if command -v moto_server >/dev/null 2>&1 || [ -x "$folder/bin/moto_server" ]; then return; fi
  if ! python3 -c 'import ensurepip' 2>/dev/null; then apt_need "python3 module venv" python3-venv; fi
  echo "installing moto[server] in target/tools/venv"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet 'moto[server]==5.*'
}

# An OpenID Connect server, of PyPI: likewise.
need_oidc() {
  local folder; folder="$(dirname "$0")/../target/tools/oidc"
  if [ -x "$folder/bin/oidc-provider-mock" ]; then return; fi
  if ! python3 -c 'import ensurepip' 2>/dev/null; then apt_need "python3 module venv" python3-venv; fi
  echo "installing oidc-provider-mock in target/tools/oidc"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet 'oidc-provider-mock==0.3.*'
}

command -v cargo >/dev/null 2>&1 || { echo "needs Rust: https://rustup.rs" >&2; exit 1; }
apt_need cc build-essential

case "${1:-}" in
  run) apt_need gdal_contour gdal-bin; apt_need curl curl; apt_need python3 python3 ;;
  test) apt_need ogr2ogr gdal-bin; apt_need bwrap bubblewrap; apt_need munged munge; apt_need slurmctld slurmctld; apt_need slurmd slurmd; apt_need sbatch slurm-client
    need_postgresql
    # Servers that uploads go to.
    apt_need sshd openssh-server; apt_need python3 python3; apt_need_python pyftpdlib python3-pyftpdlib; apt_need_python OpenSSL python3-openssl; need_moto ;;
  e2e) need_postgresql; apt_need gdal_contour gdal-bin; apt_need prosody prosody; apt_need ejabberdctl ejabberd; apt_need chromium chromium; apt_need chromedriver chromium-driver; apt_need openssl openssl; apt_need curl curl; apt_need python3 python3; apt_need_python slixmpp python3-slixmpp; apt_need_python pyftpdlib python3-pyftpdlib; apt_need_python OpenSSL python3-openssl; apt_need faketime faketime; need_oidc
    # What deploy/ is tried with.
    apt_need systemd-analyze systemd; apt_need_python yaml python3-yaml; apt_need caddy caddy ;;
  venv) apt_need python3 python3; echo "installing python3-venv"; as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null ;;
  deny)
    if ! cargo deny --version >/dev/null 2>&1; then
      echo "installing cargo-deny"
      # It reads a few files: not worth the minutes that optimising it takes.
      CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug cargo-deny
    fi ;;
  *) echo "usage: $0 run | test | e2e | venv | deny" >&2; exit 2 ;;
esac
