"""The schemas of OGC that come with the package pycsw."""

import os

import xmlschema


def ows_schema(version):
    """The schemas of one version of OWS Common; nothing is fetched."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".cache/pycsw/pycsw/core/schemas")

    def local(uri):
        for prefix, place in (("http://schemas.opengis.net/", "ogc"), ("http://www.w3.org/", "w3c")):
            if uri.startswith(prefix):
                uri = os.path.join(folder, place, uri.removeprefix(prefix))
        return uri.replace("w3c/1999/xlink/", "w3c/1999/")

    return xmlschema.XMLSchema(os.path.join(folder, f"ogc/ows/{version}/owsAll.xsd"), uri_mapper=local, allow="local")
