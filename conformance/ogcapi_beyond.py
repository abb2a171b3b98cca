"""OGC API - Processes beyond 1.0: what of the draft of edition 2.0 goes with it, and what we add.

From the draft: the class KVP execute, `Prefer: return=…`, `outputs` and single outputs of results. Ours: the dry run, pages that
go back, validators of results.
"""

import urllib.parse

from harness import Suite, check
from ogcapi import ERRORS, EXECUTION, Subject

SUITE = Suite("OGC API - Processes, beyond 1.0", Subject)


def by_get(s, **parameters):
    return s.get(f"{EXECUTION}?{urllib.parse.urlencode(parameters)}")


@SUITE.test("kvp-execute: one output as it is")
def _(s):
    answer = by_get(s, literalInput="a, b & c", outputs="literalOutput").expect(200)
    check(answer.text == "a, b & c", answer.text)
    check("monitor" in answer.links(), "no link to the job")
    check(answer.headers.get("Cache-Control") == "no-store", "the answer may be cached")


@SUITE.test("kvp-execute: lists, boxes, JSON text and qualified values")
def _(s):
    answer = by_get(s, arrayInput="1,2.5,3", response="document").expect(200).json()
    check(answer["arrayOutput"]["value"] == [1, 2.5, 3], answer)
    query = "arrayInput=1&arrayInput=2&boundingBoxInput=1,2,3,4&objectInput=%7B%22value%22:%7B%22a%22:1%7D%7D&response=document"
    answer = s.get(f"{EXECUTION}?{query}").expect(200).json()
    check(answer["arrayOutput"]["value"] == [1, 2], answer)
    check(answer["boundingBoxOutput"]["bbox"] == [1, 2, 3, 4], answer)
    check(answer["objectOutput"]["value"] == {"a": 1}, answer)


@SUITE.test("kvp-execute: outputs by include")
def _(s):
    parameters = {"literalInput": "x", "doubleInput": "1.5", "doubleOutput[include]": "true", "response": "document"}
    check(list(by_get(s, **parameters).expect(200).json()) == ["doubleOutput"], "not only the one that is included")


@SUITE.test("kvp-execute: prefer makes a job")
def _(s):
    answer = by_get(s, literalInput="later", prefer="respond-async").expect(201)
    check(answer.headers.get("Preference-Applied") == "respond-async", "no Preference-Applied")
    s.get(urllib.parse.urlsplit(answer.headers["Location"]).path).expect(200)


@SUITE.test("kvp-execute: all faults in one answer")
def _(s):
    problem = by_get(s, doubleInput="x", integerInput="y", typo="1").expect(400).json()
    check({fault["name"] for fault in problem["faults"]} == {"doubleInput", "integerInput", "typo"}, problem)


@SUITE.test("kvp-execute: nothing is executed unasked")
def _(s):
    before = len(s.jobs(""))
    s.get(EXECUTION).expect(400)
    s.request("HEAD", f"{EXECUTION}?literalInput=x").expect(405)
    s.request("GET", f"{EXECUTION}?literalInput=x", **{"Sec-Purpose": "prefetch"}).expect(403)
    s.get(f"{EXECUTION}?literalInput={'x' * 20_000}").expect(414)
    check(len(s.jobs("")) == before, "a job was made")


@SUITE.test("dry run: valid requests are described")
def _(s):
    before = len(s.jobs(""))
    body = {"inputs": {"literalInput": "x"}, "outputs": {"complexOutput": {"format": {"mediaType": "text/xml"}}}}
    found = s.request("POST", f"{EXECUTION}?validate=true", body, Prefer="respond-async, handling=strict").expect(200)
    document = found.json()
    check(document["valid"] is True and document["mode"] == "async-execute", document)
    check(document["outputs"]["complexOutput"]["mediaType"] == "text/xml", document)
    check("handling=strict" in found.headers["Preference-Applied"], found.headers["Preference-Applied"])
    check(by_get(s, literalInput="x", validate="true").expect(200).json()["valid"], "not valid by GET")
    check(len(s.jobs("")) == before, "a job was made")


@SUITE.test("dry run: every fault is told")
def _(s):
    body = {"inputs": {"doubleInput": "x", "choiceInput": 4, "complexInput": {"href": "http://169.254.169.254/"}}}
    problem = s.request("POST", f"{EXECUTION}?validate=true", body).expect(400).json()
    check({fault["name"] for fault in problem["faults"]} == {"doubleInput", "choiceInput", "complexInput"}, problem)


@SUITE.test("handling=strict refuses unknown parameters")
def _(s):
    body = {"inputs": {"literalInput": "x"}}
    s.request("POST", f"{EXECUTION}?typo=1", body).expect(200)
    s.request("POST", f"{EXECUTION}?typo=1", body, Prefer="handling=strict").expect(400)
    s.request("POST", f"{EXECUTION}?validate=perhaps", body).expect(400)


@SUITE.test("return=minimal and return=representation")
def _(s):
    body = {"inputs": {"literalInput": "x", "complexInput": {"value": "<a/>", "mediaType": "text/xml"}},
            "outputs": {"literalOutput": {}, "complexOutput": {}}}
    minimal = s.execute(body, Prefer="return=minimal").expect(200)
    check(minimal.headers.get("Preference-Applied") == "return=minimal", "minimal was not applied")
    check(minimal.json()["literalOutput"] == "x" and "href" in minimal.json()["complexOutput"], minimal.text)
    several = s.execute(body, Prefer="return=representation").expect(200)
    check(several.json()["complexOutput"]["value"] == "<a/>", several.text)
    one = s.execute({**body, "outputs": {"literalOutput": {}}}, Prefer="return=representation").expect(200)
    check(one.text == "x", one.text)
    raw = s.execute({**body, "response": "document"}, Prefer="return=representation").expect(200)
    check(raw.headers.get("Preference-Applied") is None, "the member response decides")


@SUITE.test("results: some outputs")
def _(s):
    path = s.finish({"inputs": {"literalInput": "x", "doubleInput": 2}, "response": "document"}) + "/results"
    check(list(s.get(path + "?outputs=doubleOutput").expect(200).json()) == ["doubleOutput"], "not only the one asked for")
    s.get(path + "?outputs=").expect(204)
    check(s.get(path + "?outputs=doubleOutput,other").expect(404).json()["type"] == ERRORS + "no-such-output", "type")
    check(s.get(path + "/literalOutput").expect(200).text == "x", "not the output as it is")
    check(s.get(path + "/other").expect(404).json()["type"] == ERRORS + "no-such-output", "type")
    s.request("GET", path + "/literalOutput", Accept="image/png").expect(406)


@SUITE.test("results: validators")
def _(s):
    path = s.finish({"inputs": {"literalInput": "x"}, "response": "document"}) + "/results"
    for path in (path, path + "/literalOutput"):
        answer = s.get(path).expect(200)
        check(s.request("HEAD", path).expect(200).headers["ETag"] == answer.headers["ETag"], "HEAD has no ETag")
        s.request("GET", path, **{"If-None-Match": answer.headers["ETag"]}).expect(304)
        s.request("GET", path, **{"If-Modified-Since": answer.headers["Last-Modified"]}).expect(304)
        s.request("GET", path, **{"If-None-Match": '"other"'}).expect(200)


@SUITE.test("job list: pages forth and back")
def _(s):
    for n in range(5):
        s.execute({"inputs": {"literalInput": str(n)}}).expect(200)

    def page(query):
        document = s.get(f"/jobs?{query}").expect(200).json()
        links = {link["rel"]: urllib.parse.urlsplit(link["href"]).query for link in document["links"]}
        return [job["jobID"] for job in document["jobs"]], links

    first, links = page("limit=2&processID=echo&status=successful")
    check("prev" not in links, "the first page has one before it")
    second, beside = page(links["next"])
    check(len(second) == 2 and not set(first) & set(second), "the second page repeats the first")
    check(page(beside["prev"])[0] == first, "prev does not lead back")
    problem = s.get("/jobs?cursor=x&limit=0").expect(400).json()
    check(problem["type"] == ERRORS + "invalid-query-parameter-value", problem)
