//! YAML → tree → [`Plan`](plan::Plan): what an operator wrote, checked whole and compiled once.
//!
//! `tree` knows where everything stands, `spec` says what may stand where, `shape` checks the one
//! against the other and prints the JSON Schema, and the compilers resolve defaults and names. So
//! every problem is told at once with its line. `master` reads the RFC 1035 master files that zones name,
//! `rdata` the data of records, theirs and YAML's alike. Knows no socket and no live state.

mod compile;
mod diff;
mod imported;
mod kinds;
mod load;
mod master;
pub mod plan;
mod problem;
mod rdata;
mod shape;
mod sources;
mod spec;
mod tree;
mod zone_files;

pub use diff::{PlanDiff, diff};
pub use imported::read_imports;
pub use load::{Loaded, load, load_text};
pub use master::read_master;
pub use problem::{Problem, Problems, Sources};

/// Reads an absolute name as master files write it.
pub fn read_name(text: &[u8]) -> Result<hickory_proto::rr::Name, String> {
    rdata::name(text, &hickory_proto::rr::Name::root())
}

/// The JSON Schema (2020-12) of the YAML files.
pub fn schema() -> serde_json::Value {
    let mut schema = shape::schema(&spec::ROOT);
    if let serde_json::Value::Object(schema) = &mut schema {
        schema.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        schema.insert("title".to_owned(), "Meridian configuration".into());
        // A file may be a part of the whole, in a folder.
        schema.remove("required");
    }
    schema
}
