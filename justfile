# The habits of this project. `just` lists them.

default:
    @just --list

# Three regions on this machine, with the edge in front of them.
lab *arguments:
    cargo run --release --locked -- lab {{arguments}}

# All tests, with the real clients that they talk to.
test *arguments:
    scripts/test.sh {{arguments}}

# What CI runs.
ci:
    .ci/run

# Format and lint.
tidy:
    cargo fmt
    cargo clippy --all-targets -- -D warnings

# The documents' pictures of the dashboard, anew.
pictures:
    rm -rf target/dashboard
    -scripts/test.sh --test dashboard
    cp target/dashboard/* docs/images/

# The documentation of the code, in a browser.
doc:
    cargo doc --no-deps --document-private-items --open

# Side by side with real peers: dns/run or http/run, with names of cases; or start, or health.
bench what *cases:
    python3 bench/{{what}}.py {{cases}}

# The geography table, from its sources (see data/geo/README.md).
geo package zone_tab="/usr/share/zoneinfo/zone.tab":
    python3 scripts/build-geo.py {{package}} {{zone_tab}} data/geo

# The map of the dashboard, from its source (see data/map/README.md).
map package:
    python3 scripts/build-map.py {{package}} data/map

# A fuzz target for a minute.
fuzz target:
    cargo +nightly fuzz run {{target}} -- -max_total_time=60
