//! One client of every country, for whoever asks on behalf of countries instead of addresses. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::Database;
use crate::earth::{Country, GeoPoint};

/// A client that stands for its country.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CountryClient {
    /// Which.
    pub country: Country,
    /// Where the database has it.
    pub point: Option<GeoPoint>,
    /// The first address of its longest run of IPv4 addresses.
    pub address: IpAddr,
}

impl Database {
    /// A client of every country that has IPv4 addresses, in the order of their codes.
    pub fn country_clients(&self) -> Vec<CountryClient> {
        let v4 = &self.ranges().v4.0;
        let ends = v4.iter().skip(1).map(|(start, _)| *start);
        let ends = ends.chain([u32::MAX]);
        let mut longest: BTreeMap<Country, (u32, CountryClient)> = BTreeMap::new();
        for ((start, location), end) in v4.iter().zip(ends) {
            let location = self.location(*location);
            let Some(country) = location.country else {
                continue;
            };
            let length = end.saturating_sub(*start);
            if longest
                .get(&country)
                .is_some_and(|(known, _)| *known >= length)
            {
                continue;
            }
            let client = CountryClient {
                country,
                point: location.point,
                address: Ipv4Addr::from_bits(*start).into(),
            };
            longest.insert(country, (length, client));
        }
        longest.into_values().map(|(_, client)| client).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_s_client_is_of_that_country() {
        let database = Database::built_in();
        let clients = database.country_clients();
        assert!(clients.len() > 200, "{}", clients.len());
        for client in clients {
            let location = database.lookup(client.address);
            assert_eq!(location.country, Some(client.country));
        }
    }
}
