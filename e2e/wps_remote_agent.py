"""Plays an agent of GeoServer's WPS Remote with a foreign XMPP client (slixmpp): says what the original's agents were caught saying,
from a session for the service and one for each run.

    wps_remote_agent.py PORT CERTIFICATE DOMAIN USER PASSWORD ROOM_PASSWORD BODIES SHARED

PORT takes direct TLS, and CERTIFICATE is what it has to show. A run whose `interval` is 60 waits to be aborted; any other ends at once, with its inputs as text and a
file in SHARED. `completed` is repeated each second until `finish`.
"""

import json
import pathlib
import pickle
import sys
import urllib.parse

import slixmpp

PORT, CERTIFICATE, DOMAIN, USER, PASSWORD, ROOM_PASSWORD, BODIES, SHARED = sys.argv[1:]
ROOM = f"default@conference.{DOMAIN}"


def caught(name):
    return pathlib.Path(BODIES, f"{name}.txt").read_text()


class Occupant(slixmpp.ClientXMPP):
    """A session in the room, named as the original names it."""

    def __init__(self, who):
        super().__init__(f"{USER}@{DOMAIN}/{who}@vm", PASSWORD)
        self.nick = f"Dummy@{DOMAIN}/{who}@vm"
        self.register_plugin("xep_0045")
        self.add_event_handler("session_start", self.enter)
        self.add_event_handler("message", self.hear)
        self.add_event_handler(f"muc::{ROOM}::self-presence", lambda _: self.entered())
        self.ca_certs = pathlib.Path(CERTIFICATE)
        self.connect(address=("127.0.0.1", int(PORT)), use_ssl=True)

    def enter(self, _):
        self.plugin["xep_0045"].join_muc(ROOM, self.nick, maxhistory="0", password=ROOM_PASSWORD)

    def entered(self):
        pass

    def say(self, to, body):
        self.send_message(mto=to, mbody=body, mtype="chat")


class Master(Occupant):
    def __init__(self):
        super().__init__("master")

    def hear(self, message):
        body = message["body"]
        if message["type"] != "chat":
            return
        if body == "topic=invite":
            self.say(message["from"], caught("02-register-dummy"))
        elif body == "topic=getloadavg":
            self.say(message["from"], caught("04-loadavg"))
        elif body.startswith("topic=request&"):
            fields = dict(part.split("=") for part in body.split("&"))
            inputs = pickle.loads(urllib.parse.unquote_to_bytes(fields["message"]))
            Run(fields["id"], message["from"], inputs)


class Run(Occupant):
    def __init__(self, execution, orchestrator, inputs):
        super().__init__(execution)
        self.execution, self.orchestrator, self.inputs = execution, orchestrator, inputs

    def entered(self):
        self.say(self.orchestrator, f"topic=progress&id={self.execution}&message=41.67")
        self.say(self.orchestrator, f"topic=log&id={self.execution}&level=INFO&message=step a=1 & b=2, 50% done + more")
        if self.inputs["interval"] != 60:
            self.complete()

    def complete(self):
        archive = pathlib.Path(SHARED, f"{self.execution}.zip")
        archive.write_bytes(b"PK")
        texts = {"result1": (json.dumps(self.inputs, default=str), "textual"), "result2": (str(archive), "application/zip")}
        body = f"topic=completed&id={self.execution}&baseURL=x&message=completed"
        for name, (value, kind) in texts.items():
            body += f"&{name}=" + urllib.parse.quote(json.dumps({f"{name}_value": value, f"{name}_type": kind}))
        self.say(self.orchestrator, body)
        self.loop.call_later(1, self.complete)

    def hear(self, message):
        if message["type"] == "chat" and message["body"] in ("topic=finish", "topic=abort"):
            self.complete = lambda: None
            self.disconnect()


master = Master()
master.loop.run_forever()
