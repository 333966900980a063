use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::super::{write_field, write_status};
use super::*;
use crate::http2::hpack::Pseudo;

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, HpackError> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| {
        fields.push(match field {
            Field::Pseudo(pseudo, value) => format!("{pseudo:?}: {}", value.escape_ascii()),
            Field::Regular(name, value) => format!("{name}: {}", value.as_bytes().escape_ascii()),
            Field::Wrong(..) => format!("wrong: {}", field.size() - 32),
        });
    })?;
    Ok(fields)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const FIRST: [&str; 4] = [
    "Method: GET",
    "Scheme: http",
    "Path: /",
    "Authority: www.example.com",
];

/// RFC 7541 appendix C.3, and C.4 with Huffman's code.
#[test]
fn the_requests_of_the_rfc_are_read() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        let mut read = |block: &str| read(&mut decoder, &bytes(block)).unwrap();
        assert_eq!(read(blocks[0]), FIRST);
        assert_eq!(
            read(blocks[1]),
            [&FIRST[..], &["cache-control: no-cache"]].concat()
        );
        let third = [
            "Method: GET",
            "Scheme: https",
            "Path: /index.html",
            "Authority: www.example.com",
            "custom-key: custom-value",
        ];
        assert_eq!(read(blocks[2]), third);
    }
}

/// As RFC 7541 appendix C.5, where the table has room for 256 bytes.
#[test]
fn what_the_table_has_no_room_for_any_more_is_forgotten() {
    let mut decoder = Decoder::default();
    let resized = bytes("3f e1 01");
    let first = bytes(
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133
         3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    );
    let all = read(&mut decoder, &[resized, first].concat()).unwrap();
    assert_eq!(all[0], "Status: 302");
    assert_eq!(
        read(&mut decoder, &bytes("4803 3330 37c1 c0bf")).unwrap()[1..],
        all[1..]
    );
    // The status 302 had to go.
    assert_eq!(read(&mut decoder, &[0xc2]), Err(HpackError::NoSuchField));
}

#[test]
fn what_is_no_block_is_told_apart() {
    let wrong = |block: &[u8]| read(&mut Decoder::default(), block).unwrap_err();
    assert_eq!(wrong(&[0x80]), HpackError::NoSuchField);
    assert_eq!(wrong(&[0xbe]), HpackError::NoSuchField, "nothing was added");
    assert_eq!(wrong(&[0xff, 0xff, 0xff]), HpackError::CutShort);
    assert_eq!(wrong(&[0x41, 3, b'a']), HpackError::CutShort);
    assert_eq!(wrong(&[0x41]), HpackError::CutShort);
    assert_eq!(wrong(&[0x41, 0x81, 0x00]), HpackError::NoSuchCode);
    assert_eq!(wrong(&[0x82, 0x20]), HpackError::Resized, "within a block");
    assert_eq!(wrong(&[0x3f, 0xe2, 0x1f]), HpackError::Resized, "4,097");
}

#[test]
fn what_is_no_field_is_told_and_what_follows_is_read() {
    let mut decoder = Decoder::default();
    let added = [
        &[0x40, 1, b'X', 1, b'1'][..],
        &[0x40, 1, b'x', 2, b'\r', b'\n'],
        &[0x82],
    ]
    .concat();
    let expected = ["wrong: 2", "wrong: 3", "Method: GET"];
    assert_eq!(read(&mut decoder, &added).unwrap(), expected);
    let again = ["wrong: 3", "wrong: 2"];
    assert_eq!(read(&mut decoder, &[0xbe, 0xbf]).unwrap(), again);
    assert_eq!(
        read(&mut decoder, &[0, 2, b':', b'a', 0]).unwrap(),
        ["wrong: 2"]
    );
}

#[test]
fn a_name_whose_value_was_none_is_as_good_as_any_and_counts_as_it_is_long() {
    let mut decoder = Decoder::default();
    let wrong = [0x40, 1, b'x', 1, 1];
    assert_eq!(read(&mut decoder, &wrong).unwrap(), ["wrong: 2"]);
    assert_eq!(read(&mut decoder, &[0x0f, 47, 1, b'1']).unwrap(), ["x: 1"]);
    let named = [0x40, 100];
    let named = [&named[..], &[b'X'; 100], &[0]].concat();
    assert_eq!(read(&mut decoder, &named).unwrap(), ["wrong: 100"]);
    // Each counts 132: there is room for 31, or for 30 beside the first.
    for _ in 0..30 {
        assert_eq!(read(&mut decoder, &[0x7e, 0]).unwrap(), ["wrong: 100"]);
    }
    assert!(read(&mut decoder, &[0x80 | (61 + 31)]).is_ok());
    let beyond = read(&mut decoder, &[0x80 | (61 + 32)]);
    assert_eq!(beyond, Err(HpackError::NoSuchField));
}

#[test]
fn whoever_wants_a_field_kept_from_tables_is_heard() {
    let mut is_sensitive = false;
    let decoded = Decoder::default().decode(&[0x10, 1, b'x', 1, b'1'], |field| {
        is_sensitive = matches!(field, Field::Regular(_, value) if value.is_sensitive());
    });
    assert_eq!((decoded, is_sensitive), (Ok(()), true));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        status in 100..1000_u16,
        fields in prop::collection::vec(("[a-z-]{1,20}", "[ -~]{0,300}"), 0..20),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let mut block = Vec::new();
        write_status(StatusCode::from_u16(status).unwrap(), &mut block);
        headers.iter().for_each(|(name, value)| write_field(name, value, &mut block));
        let (mut said, mut came) = (None, HeaderMap::new());
        let decoded = Decoder::default().decode(&block, |field| match field {
            Field::Pseudo(Pseudo::Status, status) => said = Some(status),
            Field::Regular(name, value) => {
                came.append(name, value);
            }
            Field::Pseudo(..) | Field::Wrong(..) => panic!("{field:?}"),
        });
        prop_assert_eq!(decoded, Ok(()));
        prop_assert_eq!(said.unwrap(), status.to_string());
        prop_assert_eq!(came, headers);
    }

    #[test]
    fn whatever_comes_is_read_or_refused_and_the_table_keeps_its_bound(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20),
    ) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _ = decoder.decode(&block, |_| {});
            let Decoder(table) = &decoder;
            let sizes = (62..).map_while(|index| table.field(index)).map(Field::size);
            prop_assert!(sizes.sum::<usize>() <= 4_096);
        }
    }
}
