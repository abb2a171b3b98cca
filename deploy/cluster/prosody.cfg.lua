-- The XMPP server of deploy/compose.yaml: nodes log in as orchestrator, agents as agent.
authentication = "internal_hashed"
storage = "internal"
c2s_require_encryption = true
allow_registration = false
s2s_ports = {}
data_path = "/var/lib/prosody"
pidfile = "/var/lib/prosody/prosody.pid"
log = { info = "*console" }
modules_enabled = { "saslauth", "tls", "disco", "ping", "roster" }
modules_disabled = { "s2s" }
ssl = { certificate = "/certificate/cert.pem", key = "/certificate/key.pem" }
VirtualHost "anabranch.local"
Component "conference.anabranch.local" "muc"
