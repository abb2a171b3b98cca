"""Lays out the XML schemas of OGC in .cache/schemas, out of published packages that carry them: collect_schemas.py PYCSW_FOLDER.

OWS Common, GML and xlink come with the PyPI package pycsw, the schema of XML Schema with xmlschema, those of WPS with two jars
of 52 North on Maven Central. Without Maven the latter are missing; the next run tries again.
"""

import os
import shutil
import subprocess
import sys
import zipfile

import xmlschema

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.join(HERE, ".cache/schemas")
JARS = os.path.join(HERE, ".cache/jars")

#: Folder of ours -> artifact, and the folder inside of it.
ARTIFACTS = {
    "wps10": ("org.n52.sensorweb:52n-xml-wps-v100:2.3.0", "schemaorg_apache_xmlbeans/src/wps/1.0.0/"),
    "wps20": ("org.n52.wps:xml:1.5.0", "xsd/wps/2.0.0/"),
}

#: Longest wait for Maven Central, in seconds: the jars are small, but Maven fetches its own plugins at its first use.
WAIT_S_MAX = 120


def from_maven(name, artifact, inside):
    target = os.path.join(TARGET, name)
    if os.path.isdir(target):
        return
    command = ["mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={JARS}"]
    try:
        subprocess.run(command, check=True, timeout=WAIT_S_MAX, capture_output=True, cwd=HERE)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no schemas of {name}: {artifact}: {error}")
        return
    _, artifact_name, version = artifact.split(":")
    with zipfile.ZipFile(os.path.join(JARS, f"{artifact_name}-{version}.jar")) as jar:
        for entry in jar.namelist():
            if entry.startswith(inside) and not entry.endswith("/"):
                place = os.path.join(TARGET, f"{name}.part", entry.removeprefix(inside))
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with jar.open(entry) as source, open(place, "wb") as file:
                    shutil.copyfileobj(source, file)
    # Whole or not at all.
    os.rename(f"{target}.part", target)


def main(pycsw):
    for name in ("ogc", "w3c"):
        shutil.copytree(os.path.join(pycsw, "pycsw/core/schemas", name), os.path.join(TARGET, name), dirs_exist_ok=True)
    own = os.path.join(os.path.dirname(xmlschema.__file__), "schemas/XSD_1.0/XMLSchema.xsd")
    shutil.copy(own, os.path.join(TARGET, "XMLSchema.xsd"))
    for name, (artifact, inside) in ARTIFACTS.items():
        from_maven(name, artifact, inside)


if __name__ == "__main__":
    main(sys.argv[1])
