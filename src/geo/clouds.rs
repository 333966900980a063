//! Where the well-known regions of AWS, Google Cloud and Azure are, by name.
//!
//! AWS and Google Cloud: the metropolitan area that the provider names for the region. Azure: the
//! coordinates that Microsoft publishes for its regions (CC BY 4.0).

use crate::earth::GeoPoint;

/// Name, degrees north, degrees east; sorted by name.
#[rustfmt::skip]
static REGIONS: &[(&str, f64, f64)] = &[
    ("af-south-1", -33.92, 18.42),
    ("africa-south1", -26.20, 28.05),
    ("ap-east-1", 22.32, 114.17),
    ("ap-east-2", 25.03, 121.57),
    ("ap-northeast-1", 35.62, 139.78),
    ("ap-northeast-2", 37.57, 126.98),
    ("ap-northeast-3", 34.69, 135.50),
    ("ap-south-1", 19.08, 72.88),
    ("ap-south-2", 17.39, 78.49),
    ("ap-southeast-1", 1.35, 103.82),
    ("ap-southeast-2", -33.87, 151.21),
    ("ap-southeast-3", -6.21, 106.85),
    ("ap-southeast-4", -37.81, 144.96),
    ("ap-southeast-5", 3.15, 101.69),
    ("ap-southeast-6", -36.85, 174.76),
    ("ap-southeast-7", 13.76, 100.50),
    ("asia-east1", 24.05, 120.52),
    ("asia-east2", 22.32, 114.17),
    ("asia-northeast1", 35.68, 139.69),
    ("asia-northeast2", 34.69, 135.50),
    ("asia-northeast3", 37.57, 126.98),
    ("asia-south1", 19.08, 72.88),
    ("asia-south2", 28.61, 77.21),
    ("asia-southeast1", 1.35, 103.70),
    ("asia-southeast2", -6.21, 106.85),
    ("australia-southeast1", -33.87, 151.21),
    ("australia-southeast2", -37.81, 144.96),
    ("australiacentral", -35.31, 149.12),
    ("australiacentral2", -35.31, 149.12),
    ("australiaeast", -33.87, 151.21),
    ("australiasoutheast", -37.81, 144.96),
    ("austriaeast", 48.21, 16.37),
    ("belgiumcentral", 50.85, 4.35),
    ("brazilsouth", -23.55, -46.63),
    ("brazilsoutheast", -22.91, -43.17),
    ("ca-central-1", 45.50, -73.57),
    ("ca-west-1", 51.05, -114.07),
    ("canadacentral", 43.65, -79.38),
    ("canadaeast", 46.81, -71.21),
    ("centralindia", 18.52, 73.86),
    ("centralus", 41.88, -93.10),
    ("chilecentral", -33.45, -70.67),
    ("cn-north-1", 39.90, 116.41),
    ("cn-northwest-1", 37.51, 105.19),
    ("eastasia", 22.27, 114.19),
    ("eastus", 37.37, -79.82),
    ("eastus2", 36.67, -78.39),
    ("eu-central-1", 50.11, 8.68),
    ("eu-central-2", 47.38, 8.54),
    ("eu-north-1", 59.33, 18.07),
    ("eu-south-1", 45.46, 9.19),
    ("eu-south-2", 41.65, -0.88),
    ("eu-west-1", 53.35, -6.26),
    ("eu-west-2", 51.51, -0.13),
    ("eu-west-3", 48.86, 2.35),
    ("europe-central2", 52.23, 21.01),
    ("europe-north1", 60.57, 27.19),
    ("europe-north2", 59.33, 18.07),
    ("europe-southwest1", 40.42, -3.70),
    ("europe-west1", 50.45, 3.82),
    ("europe-west10", 52.52, 13.40),
    ("europe-west12", 45.07, 7.69),
    ("europe-west2", 51.51, -0.13),
    ("europe-west3", 50.11, 8.68),
    ("europe-west4", 53.43, 6.83),
    ("europe-west6", 47.38, 8.54),
    ("europe-west8", 45.46, 9.19),
    ("europe-west9", 48.86, 2.35),
    ("francecentral", 46.38, 2.37),
    ("francesouth", 43.89, 2.42),
    ("germanynorth", 53.08, 8.80),
    ("germanywestcentral", 50.11, 8.68),
    ("il-central-1", 32.09, 34.78),
    ("indonesiacentral", -6.21, 106.85),
    ("israelcentral", 31.25, 34.79),
    ("italynorth", 45.46, 9.19),
    ("japaneast", 35.68, 139.65),
    ("japanwest", 34.69, 135.50),
    ("jioindiawest", 22.72, 75.86),
    ("koreacentral", 37.57, 126.98),
    ("koreasouth", 35.18, 129.08),
    ("malaysiawest", 3.15, 101.69),
    ("me-central-1", 25.20, 55.27),
    ("me-central1", 25.29, 51.53),
    ("me-central2", 26.43, 50.10),
    ("me-south-1", 26.07, 50.56),
    ("me-west1", 32.09, 34.78),
    ("mexicocentral", 20.59, -100.39),
    ("mx-central-1", 20.59, -100.39),
    ("newzealandnorth", -36.85, 174.76),
    ("northamerica-northeast1", 45.50, -73.57),
    ("northamerica-northeast2", 43.65, -79.38),
    ("northamerica-south1", 20.59, -100.39),
    ("northcentralus", 41.88, -87.63),
    ("northeurope", 53.35, -6.26),
    ("norwayeast", 59.91, 10.75),
    ("norwaywest", 58.97, 5.73),
    ("polandcentral", 52.23, 21.01),
    ("qatarcentral", 25.29, 51.53),
    ("sa-east-1", -23.55, -46.63),
    ("southafricanorth", -25.73, 28.22),
    ("southafricawest", -33.92, 18.42),
    ("southamerica-east1", -23.53, -46.79),
    ("southamerica-west1", -33.45, -70.67),
    ("southcentralus", 29.42, -98.49),
    ("southeastasia", 1.35, 103.82),
    ("southindia", 12.97, 80.16),
    ("spaincentral", 40.42, -3.70),
    ("swedencentral", 60.67, 17.14),
    ("switzerlandnorth", 47.45, 8.56),
    ("switzerlandwest", 46.20, 6.14),
    ("uaecentral", 24.45, 54.38),
    ("uaenorth", 25.28, 55.30),
    ("uksouth", 51.51, -0.13),
    ("ukwest", 53.48, -2.24),
    ("us-central1", 41.26, -95.86),
    ("us-east-1", 38.95, -77.45),
    ("us-east-2", 40.00, -83.00),
    ("us-east1", 33.20, -80.01),
    ("us-east4", 39.04, -77.49),
    ("us-east5", 39.96, -83.00),
    ("us-gov-east-1", 40.00, -83.00),
    ("us-gov-west-1", 45.87, -119.69),
    ("us-south1", 32.78, -96.80),
    ("us-west-1", 37.35, -121.96),
    ("us-west-2", 45.87, -119.69),
    ("us-west1", 45.60, -121.18),
    ("us-west2", 34.05, -118.24),
    ("us-west3", 40.76, -111.89),
    ("us-west4", 36.17, -115.14),
    ("westcentralus", 40.89, -110.23),
    ("westeurope", 52.37, 4.90),
    ("westindia", 19.08, 72.88),
    ("westus", 37.78, -122.42),
    ("westus2", 47.23, -119.85),
    ("westus3", 33.45, -112.07),
];

/// The place of a region that everybody knows by this name.
pub fn well_known(name: &str) -> Option<GeoPoint> {
    let at = REGIONS
        .binary_search_by_key(&name, |(name, ..)| name)
        .ok()?;
    let (_, lat, lon) = REGIONS.get(at)?;
    GeoPoint::new(*lat, *lon).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_entry_is_found() {
        assert!(REGIONS.is_sorted_by(|(a, ..), (b, ..)| a < b));
        for (name, ..) in REGIONS {
            assert!(well_known(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_region_of_each_cloud_is_known() {
        let close = |name: &str, lat: f64, lon: f64| {
            let there = GeoPoint::new(lat, lon).unwrap();
            assert!(
                well_known(name).unwrap().distance_km(there) < 300.0,
                "{name}"
            );
        };
        close("us-east-1", 38.95, -77.45);
        close("europe-west3", 50.11, 8.68);
        close("japaneast", 35.68, 139.77);
        assert_eq!(well_known("my-basement"), None);
    }
}
