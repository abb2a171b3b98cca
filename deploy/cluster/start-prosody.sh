#!/bin/sh
# At the first start makes the certificate that nodes and agents trust, and the accounts; then it is Prosody.
set -eu
config=/etc/anabranch/prosody.cfg.lua
if [ ! -e /certificate/cert.pem ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=anabranch.local \
    -addext subjectAltName=DNS:anabranch.local,DNS:prosody -keyout /certificate/key.pem -out /certificate/new.pem
  chown prosody /certificate/key.pem
  mv /certificate/new.pem /certificate/cert.pem
fi
chown prosody /var/lib/prosody
for account in orchestrator agent; do
  prosodyctl --config "$config" register "$account" anabranch.local "$(cat /etc/anabranch/xmpp-password)"
done
exec setpriv --reuid=prosody --regid=prosody --clear-groups prosody --config "$config" -F
