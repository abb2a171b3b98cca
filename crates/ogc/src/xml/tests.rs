use super::source::Source;
use super::*;
use anabranch_model::Data;

/// Reads a whole document as one payload.
fn content(document: &str) -> Result<Content, XmlError> {
    let mut reader = Reader::new(document);
    reader.root()?;
    let content = reader.content()?;
    reader.finish()?;
    Ok(content)
}

#[track_caller]
fn refused(document: &str, rule: &str) {
    let error = content(document).unwrap_err();
    assert!(error.rule.contains(rule), "{}", error.rule);
}

#[test]
fn dangerous_documents_are_refused() {
    refused("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "document type");
    refused("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>", "document type");
    refused("<a>&x;</a>", "entity '&x;'");
    refused("<a>&nbsp;</a>", "entity '&nbsp;'");
    refused("<a>&#0;</a>", "refused");
    refused("<a b=\"&x;\"/>", "attribute");
    refused("<a><b c=\"&x;\"/></a>", "attribute");
    refused(&format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000)), "deeper than 64");
    refused(&format!("<a b=\"{}\"/>", "x".repeat(10 << 20)), "longer than 65536");
    let attributes: String = (0..1_000).map(|n| format!(" a{n}=\"\"")).collect();
    refused(&format!("<a{attributes}/>"), "more than 256");
}

#[test]
fn broken_documents_are_refused_with_a_line() {
    for broken in [
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "<a b=1/>",
        "<a b=\"\" b=\"\"/>",
        "<a/><b/>",
        "<a/>x",
        "<a>&amp</a>",
        "</a>",
        "<p:a/>",
    ] {
        content(broken).unwrap_err();
    }
    assert_eq!(content("<a>\n\n<b>\n</c></a>").unwrap_err().line, 4);
}

#[test]
fn text_is_put_together_from_all_its_parts() {
    let text = "<?xml version=\"1.0\"?><!-- x --><a>1 &lt;&#x32;<![CDATA[<&]]><!-- no -->\r\n3</a>";
    assert_eq!(content(text).unwrap(), Content::Text("1 <2<&\n3".into()));
    let mut reader = Reader::new("<a><b>x</b></a>");
    reader.root().unwrap();
    assert!(reader.text().unwrap_err().rule.contains("'b'"));
    let long = format!("<a>{}</a>", "x".repeat(TEXT_BYTES_MAX + 1));
    let mut reader = Reader::new(&long);
    reader.root().unwrap();
    assert!(reader.text().is_err());
}

#[test]
fn payloads_stay_as_written_and_take_their_namespaces_along() {
    let document = "<w:a xmlns:w='urn:w' xmlns:g=\"urn:g\" xmlns:u='urn:unused' xmlns='urn:d'>\n <!-- x -->\
        <g:b  c='1'><d t=\"g:x\"/>\r\n<![CDATA[<]]></g:b>\n</w:a>";
    let expected = "<g:b xmlns:g=\"urn:g\" xmlns=\"urn:d\"  c='1'><d t=\"g:x\"/>\r\n<![CDATA[<]]></g:b>";
    match content(document).unwrap() {
        Content::Xml(text) => {
            // The order of declarations is the reader's.
            let other = "<g:b xmlns=\"urn:d\" xmlns:g=\"urn:g\"  c='1'><d t=\"g:x\"/>\r\n<![CDATA[<]]></g:b>";
            assert!(text == expected || text == other, "{text}");
        }
        other => panic!("{other:?}"),
    }
    let own = "<a xmlns=\"urn:d\"><b xmlns=\"\"/><c xmlns=\"urn:c\">x</c></a>";
    assert_eq!(content(own).unwrap(), Content::Xml("<b xmlns=\"\"/><c xmlns=\"urn:c\">x</c>".into()));
}

/// The characters of a document, line by line as they come.
fn decoded(document: &[u8]) -> Result<String, XmlError> {
    let mut source = Source::new(Box::new(document));
    match io::read_to_string(&mut source) {
        Ok(text) => Ok(text),
        Err(error) => Err(error.get_ref().unwrap().downcast_ref::<XmlError>().unwrap().clone()),
    }
}

#[test]
fn encodings_are_honoured() {
    assert_eq!(decoded(b"\xEF\xBB\xBF<a/>").unwrap(), "<a/>");
    assert_eq!(decoded(b"\xFF\xFE<\0\xFC\0").unwrap(), "<ü");
    let latin = b"<?xml version=\"1.0\" encoding='ISO-8859-1'?><a>\xFC</a>";
    assert!(decoded(latin).unwrap().ends_with("<a>ü</a>"));
    decoded(b"<a>\xFC</a>").unwrap_err();
    decoded(b"<a>\xC3").unwrap_err();
    decoded(b"\xFE\xFF\xD8\x34").unwrap_err();
    decoded(b"<?xml version=\"1.0\" encoding=\"EBCDIC\"?><a/>").unwrap_err();
    decoded(b"<?xml encoding=").unwrap();
    // What stands for the quote may be longer than a byte.
    decoded("<?xml encoding=é>".as_bytes()).unwrap();
    assert_eq!(decoded(b"<a>\n\x01</a>").unwrap_err().line, 2);
}

#[test]
fn characters_may_be_cut_anywhere() {
    let text = "<?xml version='1.0' encoding='X'?><a>€ü𝄞\n".repeat(40);
    let utf_16 = |unit: fn(u16) -> [u8; 2]| {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(unit).collect::<Vec<_>>()
    };
    let utf_8 = text.replace("'X'", "'utf-8'");
    for (bytes, expected) in [
        (utf_8.clone().into_bytes(), &utf_8),
        (utf_16(u16::to_be_bytes), &text),
        (utf_16(u16::to_le_bytes), &text),
    ] {
        for size in [1, 2, 3, 5, 7, 400] {
            let input = io::BufReader::with_capacity(size, bytes.as_slice());
            let mut source = Source::new(Box::new(input));
            assert!(io::read_to_string(&mut source).unwrap() == *expected, "{size}");
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let text = "a<b>&\"'\r\n\t\u{1}ü";
    let mut out = Vec::new();
    let mut xml = Writer::document(&mut out).unwrap();
    xml.start("a").unwrap();
    xml.attribute("b", text).unwrap();
    xml.leaf("c", text).unwrap();
    xml.start("d").unwrap();
    xml.finish().unwrap();
    let document = String::from_utf8(out).unwrap();
    let mut reader = Reader::new(&document);
    let root = reader.root().unwrap();
    let expected = text.replace('\u{1}', "\u{FFFD}");
    assert_eq!(root.attribute("b"), Some(expected.as_str()));
    assert!(reader.child().unwrap().unwrap().is("", "c"));
    assert_eq!(reader.text().unwrap(), expected);
    assert!(reader.child().unwrap().unwrap().is("", "d"));
    reader.skip().unwrap();
    assert!(reader.child().unwrap().is_none());
    reader.finish().unwrap();
}

#[test]
fn only_sound_xml_is_embedded() {
    let from = |text: &str| embeddable_from(&Data::Bytes(text.to_owned().into())).unwrap();
    assert_eq!(from("<a/>"), Some(0));
    assert_eq!(from("<?xml version=\"1.0\"?>\n<!-- x --><a b=\"&lt;\">&amp;x</a>\n"), Some(32));
    // A declaration of another encoding does no harm to what is UTF-8.
    let declared = "\u{feff}<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a />";
    assert_eq!(from(declared), Some(46));
    assert_eq!(from(&format!("{}{}", "<a>".repeat(1_000), "</a>".repeat(1_000))), Some(0));
    assert_eq!(from(&format!("<a b='{}'/>", "x".repeat(1 << 20))), Some(0));
    for unsound in [
        "<a/><?xml version='1.0'?>",
        "<a><?xml version='1.0'?></a>",
        "<a>\u{ffff}</a>",
        "",
        "x",
        "<a>",
        "<!DOCTYPE a><a/>",
        "<a>&x;</a>",
        "<a b=\"&x;\"/>",
        "<a/><b/>",
        "<a></b>",
        "<a>\u{1}</a>",
    ] {
        assert_eq!(from(unsound), None, "{unsound}");
    }
    assert_eq!(embeddable_from(&Data::Bytes(b"<a>\xff</a>"[..].into())).unwrap(), None);
}
