"""OGC's own executable suites: asks Maven Central whether they are there by now. They were not when this was written.

There is no code here that runs them: it could not have been tried. What is to be done when one is there: `java -jar X-aio.jar -o OUT
properties.xml` with the address of the interface (`iut`, `IUT`) and of the echo process; results are in OUT/testng/*/testng-results.xml.
"""

import concurrent.futures
import shutil
import subprocess

GROUP = "org.opengis.cite"
SUITES = {"ets-ogcapi-processes10": "1.3", "ets-wps10": "0.8", "ets-wps20": "1.1"}

#: Longest wait for Maven Central, in seconds. Maven itself asks again once a day.
WAIT_S_MAX = 30


def resolved(artifact):
    """Whether Maven can get it: `group:name:version:packaging:classifier`."""
    command = ["mvn", "-B", "-q", "dependency:get", "-Dtransitive=false", f"-Dartifact={artifact}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=WAIT_S_MAX).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def asked():
    """A sentence for each suite that is published, and one where nothing could be asked."""
    if not shutil.which("mvn"):
        return ["OGC's own suites: Maven Central was not asked, because there is no mvn"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = dict(zip(SUITES, pool.map(lambda name: resolved(f"{GROUP}:{name}:{SUITES[name]}:jar:aio"), SUITES)))
    return [f"{name} {SUITES[name]} is on Maven Central by now: run it (see official.py)" for name, there in found.items() if there]
