#!/bin/sh
# Installs provisioner on a machine without containers: packages in /opt/provisioner, a user, folders, systemd units.
# Run it from the folder of the sources, as root. Running it again installs what has changed, and touches neither
# settings nor secrets nor data; stop the services before, as a program must not change beneath those who run it.
#   deploy/install.sh [--root DIR] [--without-packages]
# --root DIR           install into a folder, for a package or an image: no user is made, no systemd is told
# --without-packages   folders and units only
set -eu

root=
packages=yes
while [ $# -gt 0 ]; do
    case $1 in
        --root)
            [ $# -gt 1 ] || { echo "--root wants a folder" >&2; exit 2; }
            root=$2
            shift
            ;;
        --without-packages) packages=no ;;
        *)
            sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
    shift
done

cd "$(dirname "$0")/.."
units=$(cd deploy/systemd && ls)

if [ -z "$root" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "Run it as root, or with --root DIR." >&2; exit 1; }
    if command -v systemctl >/dev/null; then
        for unit in $units; do
            if systemctl --quiet is-active "$unit"; then
                echo "$unit runs. Stop it first: systemctl stop $unit" >&2
                exit 1
            fi
        done
    fi
    if ! getent passwd provisioner >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/provisioner --shell /usr/sbin/nologin provisioner
    fi
    own() { chown "$1" "$2"; }
else
    mkdir -p "$root"
    root=$(cd "$root" && pwd)
    own() { :; }
fi

folder() { # path, mode, owner
    mkdir -p "$root$1"
    chmod "$2" "$root$1"
    own "$3" "$root$1"
}

folder /opt 0755 root:root
folder /etc/provisioner 0750 root:provisioner
folder /etc/provisioner/secrets 0750 root:provisioner
folder /var/lib/provisioner 0700 provisioner:provisioner
folder /etc/systemd/system 0755 root:root

if [ "$packages" = yes ]; then
    home=$root/opt/provisioner
    # Again where an upgrade of the system took its Python away
    if ! [ -x "$home/bin/python" ] || [ -n "$(scripts/stale-venv "$home")" ]; then
        python=$(scripts/find-python)
        "$python" -m venv --clear "$home"
    fi
    pip="$home/bin/python -m pip --disable-pip-version-check --quiet --no-input"
    $pip install --require-hashes --requirement requirements-remote.txt
    # Built beside the sources, so that nothing is left in them
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -R pyproject.toml README.md LICENSE provisioner "$copy"
    $pip install --no-deps --no-build-isolation --force-reinstall "$copy"
fi

install -m 0644 config/provisioner.example.yaml "$root/etc/provisioner/provisioner.example.yaml"
for unit in $units; do
    install -m 0644 "deploy/systemd/$unit" "$root/etc/systemd/system/$unit"
done

if [ -z "$root" ]; then
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    echo "Installed."
    if [ ! -e /etc/provisioner/provisioner.yaml ]; then
        echo "Write /etc/provisioner/provisioner.yaml; provisioner.example.yaml beside it explains every setting."
        echo "Put each secret into a file of /etc/provisioner/secrets, readable for the group provisioner."
    fi
    echo "Then: systemctl enable --now provisioner"
else
    echo "Installed into $root."
fi
