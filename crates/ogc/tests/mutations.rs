//! Every parser takes anything: valid documents, changed at random places, are accepted or refused, and nothing panics.

use anabranch_ogc::{detect, ogcapi};

const QUERY: &str = "service=WPS&version=1.0.0&request=Execute&identifier=a&language=en-US&storeExecuteResponse=true&\
    DataInputs=[x=1@uom=m;y=@xlink:href=http%3A%2F%2Fh%2F@method=POST;z=%5B]&ResponseDocument=o@asReference=true";

const BODY: &str = "<?xml version='1.0' encoding='UTF-8'?><wps:Execute xmlns:wps='http://www.opengis.net/wps/1.0.0' \
    xmlns:ows='http://www.opengis.net/ows/1.1' xmlns:xlink='http://www.w3.org/1999/xlink' service='WPS' \
    version='1.0.0'><ows:Identifier>a</ows:Identifier><wps:DataInputs><wps:Input><ows:Identifier>x</ows:Identifier>\
    <wps:Data><wps:ComplexData mimeType='text/xml'><é:b xmlns:é='urn:é' c='&lt;'><![CDATA[<]]>&#xe9;</é:b></wps:ComplexData>\
    </wps:Data></wps:Input><wps:Input><ows:Identifier>y</ows:Identifier><wps:Reference xlink:href='http://h/'>\
    <wps:Header key='a' value='b'/></wps:Reference></wps:Input><wps:Input><ows:Identifier>z</ows:Identifier><wps:Data>\
    <wps:BoundingBoxData><ows:LowerCorner>1 2</ows:LowerCorner><ows:UpperCorner>1 2</ows:UpperCorner>\
    </wps:BoundingBoxData></wps:Data></wps:Input></wps:DataInputs><wps:ResponseForm><wps:ResponseDocument status='true' \
    storeExecuteResponse='true'><wps:Output><ows:Identifier>o</ows:Identifier></wps:Output></wps:ResponseDocument>\
    </wps:ResponseForm></wps:Execute>";

const QUERY_2_0: &str = "service=WPS&version=2.0.0&request=DescribeProcess&identifier=a,b&lang=en-US";

const BODY_2_0: &str = "<wps:Execute xmlns:wps='http://www.opengis.net/wps/2.0' xmlns:ows='http://www.opengis.net/ows/2.0' \
    xmlns:xlink='http://www.w3.org/1999/xlink' service='WPS' version='2.0.0' mode='auto' response='document'>\
    <ows:Identifier>a</ows:Identifier><wps:Input id='x'><wps:Data mimeType='text/xml'><é:b xmlns:é='urn:é' c='&lt;'>\
    <![CDATA[<]]>&#xe9;</é:b></wps:Data></wps:Input><wps:Input id='y'><wps:Reference xlink:href='http://h/'><wps:Body>\
    <q/></wps:Body></wps:Reference></wps:Input><wps:Input id='z'><wps:Data><ows:BoundingBox><ows:LowerCorner>1 2\
    </ows:LowerCorner><ows:UpperCorner>1 2</ows:UpperCorner></ows:BoundingBox></wps:Data></wps:Input><wps:Input id='l'>\
    <wps:Data><wps:LiteralValue uom='m'>1</wps:LiteralValue></wps:Data></wps:Input><wps:Output id='o' \
    transmission='reference' mimeType='a/b'/></wps:Execute>";

const JSON: &str = r#"{"inputs": {"box": [{"bbox": [1, 2.5, 3e0, 4], "crs": "é"}, {"value": {"bbox": [1,2,3,4]}},
    {"href": "http://h/", "type": "a/b"}, "\ud834\udd1e"], "x": null, "one": {"value":
    {"a": [1, {"b": "]\\\"}"}]}, "mediaType": "application/json"}, "many": ["a\u00fc\/", {"value": "QUJD RA==", "encoding":
    "base64"}, {"value": [1, "\ud834\udd1e"]}, {"c": "d"}]}, "outputs": {"o": {"format": {"mediaType": "a/b"},
    "transmissionMode": "reference"}}, "response": "document", "subscriber": {"successUri": "http://h/"}}"#;

const JOBS: &str =
    "limit=5&cursor=x&status=running,failed&datetime=2026-01-01T00:00:00Z/..&minDuration=1&type=process";

const PREFER: &str = "respond-async; x=\"1\", wait=10, return=minimal";

/// Numbers that look random and are the same every time (a linear congruential generator, Knuth's constants).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // 31 bits: they fit everywhere.
        (self.0 >> 33) as usize % limit
    }
}

/// Changes, removes, doubles or inserts a few bytes.
fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let interesting = b"<>&;'\"=@%[]{}:/,\\ \n\0\xff\xc3a0-";
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let byte = interesting[random.below(interesting.len())];
        match random.below(5) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at.max(1)),
            _ => {
                let to = bytes.len().min(at + random.below(40));
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn no_mutation_panics() {
    let mut random = Random(1);
    for _ in 0..5_000 {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        detect::fuzz_query(&text(mutate(QUERY, &mut random)));
        detect::fuzz_body(&mutate(BODY, &mut random));
        detect::fuzz_query(&text(mutate(QUERY_2_0, &mut random)));
        detect::fuzz_body(&mutate(BODY_2_0, &mut random));
        ogcapi::execute::fuzz_execute(&mutate(JSON, &mut random));
        ogcapi::job::fuzz_query(&text(mutate(JOBS, &mut random)));
        ogcapi::prefer::fuzz_header(&text(mutate(PREFER, &mut random)));
    }
}

#[test]
fn without_mutation_all_are_accepted() {
    let service = anabranch_ogc::ServiceInfo::default();
    detect::query(QUERY, &service).unwrap();
    detect::body(BODY.as_bytes(), &service).unwrap();
    detect::query(QUERY_2_0, &service).unwrap();
    detect::body(BODY_2_0.as_bytes(), &service).unwrap();
    ogcapi::job::JobQuery::parse(JOBS).unwrap();
}
