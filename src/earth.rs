//! Places on the globe: coordinates, countries, and the distance between two points.
//!
//! Pure geometry. Knows nothing of regions or clients.

use std::fmt;
use std::str::FromStr;

/// Mean radius of the Earth in km (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// A point on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoPoint {
    lat: f64,
    lon: f64,
}

/// Coordinates that are not on the globe.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "[{lat}, {lon}] is not a place: latitude goes from -90 to 90 and longitude from -180 to 180"
)]
pub struct NotOnEarth {
    lat: f64,
    lon: f64,
}

impl GeoPoint {
    /// Latitude from -90 to 90, longitude from -180 to 180.
    pub fn new(lat: f64, lon: f64) -> Result<Self, NotOnEarth> {
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) {
            Ok(Self { lat, lon })
        } else {
            Err(NotOnEarth { lat, lon })
        }
    }

    /// Degrees north.
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east.
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Great-circle distance in km (haversine).
    pub fn distance_km(self, other: Self) -> f64 {
        let (phi, other_phi) = (self.lat.to_radians(), other.lat.to_radians());
        let half_dphi = (other_phi - phi) / 2.0;
        let half_dlambda = (other.lon - self.lon).to_radians() / 2.0;
        let h = half_dphi.sin().powi(2) + phi.cos() * other_phi.cos() * half_dlambda.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
    }
}

impl fmt::Display for GeoPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}, {:.2}", self.lat, self.lon)
    }
}

/// An ISO 3166-1 alpha-2 country code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

/// A text that is no country code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a country: an ISO 3166 code of two letters is expected, such as JP")]
pub struct NotACountry(String);

impl Country {
    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for Country {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(NotACountry(text.to_owned())),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(lat: f64, lon: f64) -> GeoPoint {
        GeoPoint::new(lat, lon).unwrap()
    }

    #[test]
    fn frankfurt_to_dublin_is_about_1090_km() {
        let km = point(50.11, 8.68).distance_km(point(53.35, -6.26));
        assert!((1080.0..1100.0).contains(&km), "{km}");
    }

    #[test]
    fn antipodes_are_half_the_circumference_apart() {
        let km = point(0.0, 0.0).distance_km(point(0.0, 180.0));
        assert!((km - std::f64::consts::PI * EARTH_RADIUS_KM).abs() < 0.1);
    }

    #[test]
    fn a_point_off_the_globe_is_refused_and_its_edge_is_not() {
        assert!(GeoPoint::new(90.0, -180.0).is_ok());
        assert!(GeoPoint::new(90.1, 0.0).is_err());
        assert!(GeoPoint::new(f64::NAN, 0.0).is_err());
    }

    #[test]
    fn a_country_is_two_letters_in_either_case() {
        assert_eq!("jp".parse::<Country>().unwrap().as_str(), "JP");
        assert!("JPN".parse::<Country>().is_err());
        assert!("J1".parse::<Country>().is_err());
    }
}
