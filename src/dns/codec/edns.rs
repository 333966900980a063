//! EDNS(0): the OPT record (RFC 6891), client subnet (RFC 7871), NSID (RFC 5001), cookies (RFC 7873),
//! keepalive (RFC 7828), padding (RFC 7830), extended errors (RFC 8914). Options that are not known
//! here are ignored (RFC 6891 §6.1.2).

use std::time::Duration;

use super::code::{ExtendedError, Rcode, rtype};
use super::cookie::{Cookie, OPTION_COOKIE};
use super::cursor::Cursor;
use super::subnet::{ClientSubnet, OPTION_CLIENT_SUBNET, SUBNET_ROOM};

/// The payload that this server announces and keeps to: no fragments on any usual path.
pub(in crate::dns) const OWN_UDP_SIZE: u16 = 1232;

/// The version of EDNS that this server speaks.
const VERSION: u8 = 0;

/// The flag in the lower half of OPT's TTL that asks for DNSSEC records (RFC 3225 §3).
const DNSSEC_OK: u16 = 0x8000;

/// The flag that asks for NXDOMAIN beside a compact denial (RFC 9824 §5.1).
const COMPACT_OK: u16 = 0x4000;

const OPTION_NSID: u16 = 3;
const OPTION_KEEPALIVE: u16 = 11;
const OPTION_PADDING: u16 = 12;
const OPTION_EXTENDED_ERROR: u16 = 15;

/// The code and the length before an option's data.
pub(super) const OPTION_HEAD: usize = 4;

/// The class, the TTL and the length of an OPT record.
const BEFORE_OPTIONS: usize = 8;

/// An OPT record without options: root, type, payload, extended code and flags, length.
const BARE_OPT: usize = 11;

/// Of every OPT record: root, type, payload.
const OPT_FRONT: [u8; 5] = {
    let [type_high, type_low] = rtype::OPT.to_be_bytes();
    let [size_high, size_low] = OWN_UDP_SIZE.to_be_bytes();
    [0, type_high, type_low, size_high, size_low]
};

/// How long a connection may be silent between messages, RFC 7766 §6.2.3. Clients that ask are told.
pub(in crate::dns) const IDLE: Duration = Duration::from_secs(10);

/// RFC 8467 §4.2: padded responses have a multiple of this many bytes.
const PADDED_TO: usize = 468;

/// A node's name in NSID is cut to this, so that the smallest response holds it.
const LONGEST_NSID: usize = 128;

/// What a query's OPT record says, and what the response's is made from.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dns) struct Edns {
    /// What the client can receive over UDP; values under 512 count as 512 (RFC 6891 §6.2.3).
    pub(in crate::dns) udp_size: u16,
    /// Whether the version is newer than this server's.
    pub(in crate::dns) is_bad_version: bool,
    /// Copied into the response (RFC 3225 §3).
    pub(in crate::dns) dnssec_ok: bool,
    /// Whether a name that does not exist may be told by its code too; copied as well.
    pub(in crate::dns) compact_ok: bool,
    /// Whether the node's name is asked for.
    pub(in crate::dns) wants_nsid: bool,
    /// The network of the client behind a resolver.
    pub(in crate::dns) subnet: Option<ClientSubnet>,
    /// The client's, until it is replaced by what the client gets.
    pub(in crate::dns) cookie: Option<Cookie>,
    /// Whether it is asked for how long a connection may be silent.
    pub(in crate::dns) keepalive: Keepalive,
    /// Whether the response should not tell by its length what it is.
    pub(in crate::dns) wants_padding: bool,
}

/// The keepalive option (RFC 7828 §3.1). Whether it counts depends on the transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dns) enum Keepalive {
    #[default]
    Absent,
    Asked,
    /// It names a time, which is the server's to name.
    Malformed,
}

/// An OPT record that breaks its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Malformed;

impl Edns {
    /// What a record says that is an OPT with a client subnet and no other option, as resolvers send it with most
    /// queries, in one look; `None` for any other, well-formed or not.
    #[inline]
    pub(in crate::dns) fn of_subnet_alone(record: &[u8]) -> Option<Self> {
        let (opt, options) = record.split_first_chunk::<BARE_OPT>()?;
        let [
            0,
            type_high,
            type_low,
            size_high,
            size_low,
            _,
            VERSION,
            flags @ ..,
            a,
            b,
        ] = *opt
        else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([a, b]));
        let (option, data) = options.split_first_chunk::<OPTION_HEAD>()?;
        let [code_high, code_low, c, d] = *option;
        let is_whole = length == options.len()
            && usize::from(u16::from_be_bytes([c, d])) == data.len()
            && u16::from_be_bytes([type_high, type_low]) == rtype::OPT
            && u16::from_be_bytes([code_high, code_low]) == OPTION_CLIENT_SUBNET;
        let flags = u16::from_be_bytes(flags);
        is_whole.then_some(Self {
            udp_size: u16::from_be_bytes([size_high, size_low]),
            dnssec_ok: flags & DNSSEC_OK != 0,
            compact_ok: flags & COMPACT_OK != 0,
            subnet: Some(ClientSubnet::read(data, record)?),
            ..Self::default()
        })
    }

    /// Becomes what an OPT record says: its class, TTL and options; its name and type stand before.
    pub(in crate::dns) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
    ) -> Option<Result<(), Malformed>> {
        let record = cursor.rest();
        let [size_high, size_low, _extended_code, version, rest @ ..] =
            cursor.array::<BEFORE_OPTIONS>()?;
        let [flags_high, flags_low, length_high, length_low] = rest;
        let flags = u16::from_be_bytes([flags_high, flags_low]);
        let length = u16::from_be_bytes([length_high, length_low]);
        cursor.bytes(usize::from(length))?;
        let record = record.get(..BEFORE_OPTIONS + usize::from(length))?;
        *self = Self {
            udp_size: u16::from_be_bytes([size_high, size_low]),
            is_bad_version: version > VERSION,
            dnssec_ok: flags & DNSSEC_OK != 0,
            compact_ok: flags & COMPACT_OK != 0,
            ..Self::default()
        };
        // RFC 6891 §6.1.3: what options of a newer version mean is not known.
        if self.is_bad_version {
            return Some(Ok(()));
        }
        Some(self.read_options(record))
    }

    fn flags(&self) -> u16 {
        let dnssec_ok = if self.dnssec_ok { DNSSEC_OK } else { 0 };
        let compact_ok = if self.compact_ok { COMPACT_OK } else { 0 };
        dnssec_ok | compact_ok
    }

    /// Of a record from its class on.
    fn read_options(&mut self, record: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(record);
        cursor.array::<BEFORE_OPTIONS>().ok_or(Malformed)?;
        while !cursor.is_at_end() {
            let (code, data) = read_option(&mut cursor).ok_or(Malformed)?;
            match code {
                OPTION_NSID => self.wants_nsid = true,
                OPTION_CLIENT_SUBNET if self.subnet.is_some() => return Err(Malformed),
                OPTION_CLIENT_SUBNET => {
                    let up_to_here = record.get(..cursor.position()).unwrap_or_default();
                    self.subnet = Some(ClientSubnet::read(data, up_to_here).ok_or(Malformed)?);
                }
                // RFC 7873 §5.2: the first cookie counts, and further ones do not.
                OPTION_COOKIE if self.cookie.is_none() => {
                    self.cookie = Some(Cookie::read(data).ok_or(Malformed)?);
                }
                OPTION_KEEPALIVE if data.is_empty() => self.keepalive = Keepalive::Asked,
                OPTION_KEEPALIVE => self.keepalive = Keepalive::Malformed,
                OPTION_PADDING => self.wants_padding = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the response's says nothing but flags, a client subnet and a cookie, as most do.
    #[inline]
    fn is_plain(&self) -> bool {
        !(self.wants_nsid | self.wants_padding | self.says_idle())
    }

    /// How many bytes the options of the client subnet and the cookie take, with their heads.
    #[inline]
    fn plain_length(&self) -> usize {
        let subnet = self.subnet.as_ref().map_or(0, ClientSubnet::length);
        let cookie = self.cookie.as_ref().map_or(0, Cookie::length);
        subnet + cookie
    }

    /// The bytes that [`Edns::write`] needs, but for an extended error and the padding itself.
    #[inline]
    pub(in crate::dns) fn reserve(&self, node: &str) -> usize {
        if self.is_plain() {
            BARE_OPT + self.plain_length()
        } else {
            self.reserve_all(node)
        }
    }

    fn reserve_all(&self, node: &str) -> usize {
        let mut length = BARE_OPT + self.plain_length();
        let mut option = |data: usize| length += OPTION_HEAD + data;
        if self.wants_nsid {
            option(nsid(node).len());
        }
        if self.says_idle() {
            option(2);
        }
        if self.wants_padding {
            option(0);
        }
        length
    }

    /// Appends the OPT record of a response. The extended error is left out where `room`, the
    /// bytes that the whole record may take, does not suffice for it.
    #[inline]
    pub(in crate::dns) fn write(
        &self,
        out: &mut Vec<u8>,
        rcode: Rcode,
        scope: u8,
        node: &str,
        error: Option<ExtendedError>,
        room: usize,
    ) {
        let extended_code = u32::from(rcode.code() >> 4) << 24;
        let version = u32::from(VERSION) << 16;
        let ttl = extended_code | version | u32::from(self.flags());
        if error.is_none() && self.is_plain() {
            self.write_plainly(out, ttl, scope);
        } else {
            let error = error.filter(|error| self.reserve(node) + error.length() <= room);
            self.write_all(out, ttl, scope, node, error, room);
        }
    }

    /// The record as one piece, and the cookie as another.
    #[inline]
    fn write_plainly(&self, out: &mut Vec<u8>, ttl: u32, scope: u8) {
        let (option, length) = match &self.subnet {
            Some(subnet) => (subnet.option(scope), subnet.length()),
            None => ([0; SUBNET_ROOM], 0),
        };
        let options = u16::try_from(self.plain_length()).unwrap_or(0);
        let mut record = [0; BARE_OPT + SUBNET_ROOM];
        let (front, behind) = record.split_at_mut(BARE_OPT);
        front.copy_from_slice(&bare(ttl, options));
        behind.copy_from_slice(&option);
        // All of it and back is less work than a copy of a length that only the query knows.
        let end = out.len() + BARE_OPT + length;
        out.extend_from_slice(&record);
        out.truncate(end);
        if let Some(cookie) = &self.cookie {
            cookie.write(out);
        }
    }

    fn write_all(
        &self,
        out: &mut Vec<u8>,
        ttl: u32,
        scope: u8,
        node: &str,
        error: Option<ExtendedError>,
        room: usize,
    ) {
        let size = out.len() + room;
        out.extend_from_slice(&bare(ttl, 0));
        let options_at = out.len();
        self.write_options(out, scope, node);
        if let Some(error) = error {
            let data = [&error.code.to_be_bytes(), error.text.as_bytes()];
            put_option(out, OPTION_EXTENDED_ERROR, &data);
        }
        if self.wants_padding {
            put_padding(out, size);
        }
        patch_length(out, options_at);
    }

    fn write_options(&self, out: &mut Vec<u8>, scope: u8, node: &str) {
        if self.wants_nsid {
            put_option(out, OPTION_NSID, &[nsid(node)]);
        }
        if let Some(subnet) = &self.subnet {
            out.extend_from_slice(&subnet.option(scope));
            out.truncate(out.len() - SUBNET_ROOM + subnet.length());
        }
        if let Some(cookie) = &self.cookie {
            cookie.write(out);
        }
        if self.says_idle() {
            // RFC 7828 §3.1: in units of 100 ms.
            let tenths = u16::try_from(IDLE.as_millis() / 100).unwrap_or(u16::MAX);
            put_option(out, OPTION_KEEPALIVE, &[&tenths.to_be_bytes()]);
        }
    }

    fn says_idle(&self) -> bool {
        self.keepalive == Keepalive::Asked
    }
}

/// An OPT record without its options, which have this length.
#[inline]
fn bare(ttl: u32, length: u16) -> [u8; BARE_OPT] {
    let mut record = [0; BARE_OPT];
    let (front, fields) = record.split_at_mut(OPT_FRONT.len());
    front.copy_from_slice(&OPT_FRONT);
    let (flags, options_length) = fields.split_at_mut(4);
    flags.copy_from_slice(&ttl.to_be_bytes());
    options_length.copy_from_slice(&length.to_be_bytes());
    record
}

fn read_option<'a>(cursor: &mut Cursor<'a>) -> Option<(u16, &'a [u8])> {
    let [a, b, c, d] = cursor.array()?;
    let (code, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some((code, cursor.bytes(usize::from(length))?))
}

fn nsid(node: &str) -> &[u8] {
    let node = node.as_bytes();
    node.get(..LONGEST_NSID).unwrap_or(node)
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends an option whose data is these parts.
fn put_option(out: &mut Vec<u8>, code: u16, data: &[&[u8]]) {
    let length: usize = data.iter().map(|part| part.len()).sum();
    let [high, low] = code.to_be_bytes();
    let [length_high, length_low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[high, low, length_high, length_low]);
    for part in data {
        out.extend_from_slice(part);
    }
}

/// RFC 8467 §4.2: to the next multiple of the block, or to all that may be sent. Zeros, RFC 7830 §3.
fn put_padding(out: &mut Vec<u8>, size: usize) {
    let bare = out.len() + OPTION_HEAD;
    let padded = bare.next_multiple_of(PADDED_TO).min(size).max(bare);
    put_u16(out, OPTION_PADDING);
    put_u16(out, u16::try_from(padded - bare).unwrap_or(u16::MAX));
    out.resize(padded, 0);
}

/// Writes before the options how many bytes they are.
fn patch_length(out: &mut [u8], options_at: usize) {
    if let Some((before, options)) = out.split_at_mut_checked(options_at)
        && let Some(place) = before.last_chunk_mut()
    {
        *place = u16::try_from(options.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
    }
}

/// Passes over the class, the TTL and the data of any other record.
pub(in crate::dns) fn skip_record_body(cursor: &mut Cursor<'_>) -> Option<u16> {
    let class = cursor.u16()?;
    cursor.u32()?;
    let length = cursor.u16()?;
    cursor.bytes(usize::from(length))?;
    Some(class)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_subnet_alone_is_read_in_one_look_as_it_is_option_by_option(
            size: u16,
            version in prop_oneof![9 => Just(0_u8), 1 => any::<u8>()],
            flags: u16,
            code in prop_oneof![9 => Just(OPTION_CLIENT_SUBNET), 1 => 0_u16..16],
            family in 0_u16..4,
            source in 0_u8..140,
            scope in prop_oneof![9 => Just(0_u8), 1 => any::<u8>()],
            address in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..18),
            says_right in prop_oneof![9 => Just(true), 1 => Just(false)],
        ) {
            let mut address = address;
            if says_right {
                address.resize(usize::from(source.div_ceil(8)), 0);
            }
            let data = [&family.to_be_bytes()[..], &[source, scope], &address].concat();
            let length = u16::try_from(data.len()).unwrap();
            let mut record = vec![0, 0, 41];
            record.extend(size.to_be_bytes());
            record.extend([0, version]);
            record.extend(flags.to_be_bytes());
            record.extend((length + 4).to_be_bytes());
            record.extend(code.to_be_bytes());
            record.extend(length.to_be_bytes());
            record.extend(data);
            let mut by_option = Edns::default();
            let outcome = by_option.read(&mut Cursor::new(&record[3..]));
            let in_one_look = Edns::of_subnet_alone(&record);
            let is_alone = outcome == Some(Ok(())) && version == 0 && code == OPTION_CLIENT_SUBNET;
            let expected = is_alone.then_some(by_option);
            prop_assert_eq!(format!("{in_one_look:?}"), format!("{expected:?}"));
        }
    }
}
