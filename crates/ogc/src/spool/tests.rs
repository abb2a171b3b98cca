use super::*;
use crate::detect::{self, WpsRequest, fuzz_body};
use crate::ows::{ExceptionCode as Code, ExceptionReport};
use crate::service::ServiceInfo;
use crate::{wps_1_0, wps_2_0};
use anabranch_model::{ExecuteRequest, InputData};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufReader, Read, Write};

/// Longest piece that may be written: what is held before it is spooled, and a token that comes to it.
const PIECE_BYTES_MAX: usize = 2 * SPOOL_FROM_BYTES + 100;

/// Files in memory, which break where they are told to.
#[derive(Clone, Copy, Default)]
struct Memory {
    full_after_bytes: Option<usize>,
}

struct File(Vec<u8>, Memory);

impl Spool for Memory {
    fn characters(&self, process: &str, input: &str, format: &FormatHint) -> Characters {
        assert_eq!(process, "p");
        match input {
            "literal" => Characters::Held,
            "raster" => Characters::Base64,
            "either" => Characters::Unsaid,
            _ if is_base64(format) => Characters::Base64,
            _ => Characters::Data,
        }
    }

    fn file(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(File(Vec::new(), *self)))
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.len() <= PIECE_BYTES_MAX, "{} bytes at once", bytes.len());
        self.0.extend_from_slice(bytes);
        match self.1.full_after_bytes {
            Some(bytes) if self.0.len() > bytes => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpoolFile for File {
    fn finish(self: Box<Self>) -> io::Result<Data> {
        Ok(Data::Bytes(self.0.into()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    V1,
    V2,
}

const BOTH: [Version; 2] = [Version::V1, Version::V2];

/// An Execute request with some inputs: identifier, attributes of the payload, payload.
fn document(version: Version, inputs: &[(&str, &str, &str)]) -> String {
    let input = |(id, attributes, payload): &(&str, &str, &str)| match version {
        Version::V1 if *id == "literal" => format!(
            "<w:Input><o:Identifier>{id}</o:Identifier><w:Data><w:LiteralData>{payload}</w:LiteralData></w:Data></w:Input>"
        ),
        Version::V1 => format!(
            "<w:Input><o:Identifier>{id}</o:Identifier><w:Data><w:ComplexData {attributes}>{payload}</w:ComplexData></w:Data>\
             </w:Input>"
        ),
        Version::V2 => format!("<w:Input id='{id}'><w:Data {attributes}>{payload}</w:Data></w:Input>"),
    };
    let inputs: String = inputs.iter().map(input).collect();
    match version {
        Version::V1 => format!(
            "<w:Execute xmlns:w='http://www.opengis.net/wps/1.0.0' xmlns:o='http://www.opengis.net/ows/1.1' service='WPS' \
             version='1.0.0'><o:Identifier>p</o:Identifier><w:DataInputs>{inputs}</w:DataInputs></w:Execute>"
        ),
        Version::V2 => format!(
            "<w:Execute xmlns:w='http://www.opengis.net/wps/2.0' xmlns:o='http://www.opengis.net/ows/2.0' service='WPS' \
             version='2.0.0' mode='sync' response='raw'><o:Identifier>p</o:Identifier>{inputs}<w:Output id='o'/></w:Execute>"
        ),
    }
}

const HELD_BYTES_MAX: u64 = 300_000;

fn read(input: impl Read, mut spool: Memory) -> Result<ExecuteRequest, ExceptionReport> {
    let spooling = Spooling { to: &mut spool, from_bytes: SPOOL_FROM_BYTES, held_bytes_max: HELD_BYTES_MAX };
    match detect::stream(&mut BufReader::new(input), &ServiceInfo::default(), spooling)? {
        WpsRequest::V1_0(wps_1_0::Request::Execute(execute)) => Ok(execute.request),
        WpsRequest::V2_0(wps_2_0::Request::Execute(request)) => Ok(*request),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn bytes(data: &InputData) -> &[u8] {
    match data {
        InputData::Bytes(Data::Bytes(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn large_payloads_are_spooled_and_small_ones_held() {
    let raster: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut base64 = STANDARD.encode(&raster);
    // As people write it: lines of 76 characters.
    for at in (0..base64.len()).rev().filter(|at| at % 76 == 0) {
        base64.insert_str(at, "\r\n");
    }
    let csv = "1,ü,&lt;\r\n".repeat(30_000);
    let gml = format!("<g:a xmlns:g='urn:g'>{}</g:a>", "<g:b c='1'>ü<![CDATA[<]]></g:b>".repeat(20_000));
    for version in BOTH {
        let text = document(
            version,
            &[
                ("image", "encoding='BASE64'", &base64),
                // That it is base64 is known by its format only.
                ("raster", "", &base64),
                ("table", "mimeType='text/csv'", &csv),
                ("more", "", &format!("<![CDATA[{}]]>", csv.replace("&lt;", "<"))),
                ("features", "mimeType='text/xml'", &gml),
                ("small", "encoding='base64'", "QUJD"),
                ("either", "", &base64),
                ("either", "", &csv),
            ],
        );
        let request = read(text.as_bytes(), Memory::default()).unwrap();
        let inputs: Vec<_> = request.inputs.iter().map(|item| &item.data).collect();
        assert!(bytes(inputs[0]) == raster && bytes(inputs[1]) == raster, "{version:?}");
        let expected = "1,ü,<\n".repeat(30_000);
        assert!(bytes(inputs[2]) == expected.as_bytes() && bytes(inputs[3]) == expected.as_bytes());
        let features = str::from_utf8(bytes(inputs[4])).unwrap();
        assert!(features.starts_with("<g:a xmlns:") && features.ends_with("ü<![CDATA[<]]></g:b></g:a>"));
        assert!(matches!(inputs[5], InputData::Text { text, .. } if text == "QUJD"));
        assert!(bytes(inputs[6]) == raster && bytes(inputs[7]) == expected.as_bytes(), "as it begins");
    }
}

#[test]
fn documents_mean_the_same_wherever_they_are_cut() {
    let parts = [
        "QUJD\n REVG &#x52;w==",
        "a\r\n\r<![CDATA[\r\n]]]>&amp;\r",
        "<g:a xmlns:g='urn:g' g:b=''><c/>\r</g:a>",
        "=!",
    ];
    for version in BOTH {
        let inputs: Vec<_> = parts
            .iter()
            .flat_map(|part| [("a", "encoding='base64'", *part), ("b", "mimeType='text/plain'", *part)])
            .collect();
        for inputs in inputs.chunks(1).chain([inputs.as_slice(), &inputs[..2]]) {
            fuzz_body(document(version, inputs).as_bytes());
        }
    }
}

#[test]
fn what_is_held_is_limited_and_what_is_spooled_is_not() {
    let csv = "1,2,3\n".repeat(100_000);
    let small = "x".repeat(1_000);
    for (version, code) in [(Version::V1, Code::FileSizeExceeded), (Version::V2, Code::SizeExceeded)] {
        let many = vec![("small", "", small.as_str()); 400];
        for inputs in [&many[..], &[("literal", "", &csv)], &[("table", "", &csv), ("literal", "", &csv)]] {
            let report = read(document(version, inputs).as_bytes(), Memory::default()).unwrap_err();
            assert_eq!((report.status, report.exceptions[0].code), (413, code));
            assert!(report.exceptions[0].text.contains("300000 bytes"), "{report}");
        }
        let mut inputs = many[..150].to_vec();
        inputs.extend([("table", "", csv.as_str()); 2]);
        read(document(version, &inputs).as_bytes(), Memory::default()).unwrap();
    }
}

#[test]
fn broken_base64_is_a_fault_of_its_input_like_the_others() {
    let broken = format!("{}!", "QUJD".repeat(30_000));
    let xml = format!("<a>{}</a>", "QUJD".repeat(30_000));
    for (version, code) in [(Version::V1, Code::InvalidParameterValue), (Version::V2, Code::WrongInputData)] {
        let inputs = [
            ("image", "encoding='base64'", broken.as_str()),
            ("cut", "encoding='base64'", &broken[..119_997]),
            ("xml", "encoding='base64'", &xml),
        ];
        let report = read(document(version, &inputs).as_bytes(), Memory::default()).unwrap_err();
        let faults: Vec<_> =
            report.exceptions.iter().map(|e| (e.code, e.locator.as_deref().unwrap())).collect();
        assert_eq!(faults, [(code, "image"), (code, "cut"), (code, "xml")]);
        assert!(report.exceptions[0].text.contains("character 120001"), "{report}");
        assert!(report.exceptions[1].text.contains("after 119997 characters"), "{report}");
    }
}

#[test]
fn failures_of_reading_and_writing_are_no_faults_of_the_document() {
    let csv = "1,2,3\n".repeat(100_000);
    let text = document(Version::V2, &[("table", "", &csv)]);
    let full = Memory { full_after_bytes: Some(200_000) };
    let report = read(text.as_bytes(), full).unwrap_err();
    assert_eq!((report.status, report.exceptions[0].code), (507, Code::NotEnoughStorage));

    struct Breaks(Option<Error>);
    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.take().map_or_else(|| io::ErrorKind::ConnectionReset.into(), io::Error::other))
        }
    }
    let half = &text.as_bytes()[..text.len() / 2];
    let too_large = Error::TooLarge { what: "the request body".into(), bytes_max: 7 };
    let report = read(half.chain(Breaks(Some(too_large))), Memory::default()).unwrap_err();
    assert_eq!((report.status, report.exceptions[0].code), (413, Code::SizeExceeded));
    let report = read(half.chain(Breaks(None)), Memory::default()).unwrap_err();
    assert_eq!((report.status, report.exceptions[0].code), (500, Code::InternalServerError));
    let report = read(half, Memory::default()).unwrap_err();
    assert_eq!(report.status, 400);
}

/// A document of any size that is never there as a whole.
fn endless(begin: &str, piece: &'static str, bytes: u64, end: &str) -> impl Read + use<> {
    let begin = io::Cursor::new(begin.to_owned().into_bytes());
    let end = io::Cursor::new(end.to_owned().into_bytes());
    struct Repeat(&'static [u8], usize);
    impl Read for Repeat {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = (self.0.len() - self.1).min(into.len());
            into[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 = (self.1 + count) % self.0.len();
            Ok(count)
        }
    }
    let bytes = bytes / piece.len() as u64 * piece.len() as u64;
    begin.chain(Repeat(piece.as_bytes(), 0).take(bytes)).chain(end)
}

#[test]
fn nothing_endless_is_held() {
    const BYTES: u64 = 4 << 20;
    let whole = document(Version::V1, &[("table", "", "@")]);
    let (begin, end) = whole.split_once('@').unwrap();
    for (begin_more, piece, end_more) in [
        ("", "1,2,3\n", ""),
        ("<![CDATA[", "]]-", "]]>"),
        ("<a>", "<b c='d'/>e", "</a>"),
        ("<a>", "text", "</a>"),
        ("<a><!--", "->", "--></a>"),
    ] {
        let input = endless(&format!("{begin}{begin_more}"), piece, BYTES, &format!("{end_more}{end}"));
        let request = read(input, Memory::default()).unwrap();
        assert!(bytes(&request.inputs[0].data).len() as u64 > BYTES - 100, "{piece}");
    }
    for (begin_more, piece, rule) in [
        ("<!--", "x ", "larger than"),
        ("<?x ", "x ", "larger than"),
        ("<x ", "x", "longer than 65536"),
        ("</", "x", "longer than 65536"),
        ("&", "x", "longer than 65536"),
        ("<a b='", "x", "longer than 65536"),
    ] {
        let input = endless(&format!("{begin}{begin_more}"), piece, 10 * BYTES, "");
        let report = read(input, Memory::default()).unwrap_err();
        assert!(report.exceptions[0].text.contains(rule), "{begin_more}: {report}");
    }
}
