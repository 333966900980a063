//! What values of a configuration may be.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod config_support;

use config_support::*;

#[test]
fn what_retries_may_be_is_bounded() {
    let retries = |value: &str| {
        let retries = format!("www.example.com], retries: {{ {value} }} }}");
        with("").replace("www.example.com] }", &retries)
    };
    for taken in ["buffer: 16MiB", "on_status: [400-599]", "hedge_after: 0s"] {
        load(&retries(taken)).unwrap_or_else(|problems| panic!("{taken}: {problems}"));
    }
    check_refused(&retries("buffer: 16777217"), "it must be at most 16MiB");
    check_refused(&retries("on_status: [399]"), "from 400 to 599");
    check_refused(&retries("on_status: [200-503]"), "from 400 to 599");
}

#[test]
fn what_counts_of_traffic_is_on_unless_it_is_off_and_its_window_has_tenths() {
    let passive = |value: &str| {
        let health = format!("www.example.com], health: {{ passive: {value} }} }}");
        with("").replace("www.example.com] }", &health)
    };
    for taken in [
        "off",
        "{}",
        "{ window: 100ms, success_rate: 0%, consecutive_failures: 0 }",
    ] {
        load(&passive(taken)).unwrap_or_else(|problems| panic!("{taken}: {problems}"));
    }
    check_refused(&passive("{ window: 99ms }"), "it must be at least 100ms");
    check_refused(&passive("on"), "`on` is not one of off");
}

#[test]
fn responses_are_limited_unless_the_limit_is_off() {
    let limit = |yaml: &str| load(&with(yaml)).unwrap().plan.rate_limit;
    let shown = |yaml: &str| {
        let limit = limit(yaml).unwrap();
        let exempt: Vec<String> = limit.exempt.iter().map(ToString::to_string).collect();
        format!(
            "{} {} {}",
            limit.responses_per_second,
            limit.slip,
            exempt.join(",")
        )
    };
    let default = "200 2 127.0.0.0/8,::1/128";
    for yaml in [
        "",
        "dns: {}",
        "dns: { rate_limit: {} }",
        "dns: { rate_limit: }",
    ] {
        assert_eq!(shown(yaml), default, "{yaml}");
    }
    assert_eq!(
        shown("dns: { rate_limit: { responses_per_second: 100000, slip: 0, exempt: [] } }"),
        "100000 0 "
    );
    assert_eq!(
        shown("dns: { rate_limit: { slip: 255, exempt: [10.0.0.0/8] } }"),
        "200 255 10.0.0.0/8"
    );
    assert_eq!(limit("dns: { rate_limit: off }"), None);
    for (rate_limit, said) in [
        ("on", "`on` is not one of off"),
        ("{ responses_per_second: 0 }", "from 1 to 100000"),
        ("{ responses_per_second: 100001 }", "from 1 to 100000"),
        ("{ slip: 256 }", "from 0 to 255"),
        ("{ exempt: [10.0.0.1/8] }", "did you mean 10.0.0.0/8?"),
        ("{ exempts: [] }", "did you mean `exempt`?"),
    ] {
        check_refused(&with(&format!("dns: {{ rate_limit: {rate_limit} }}")), said);
    }
}

#[test]
fn what_has_no_effect_is_refused_or_warned_of() {
    let service = |more: &str| {
        format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com], {more} }} }}\n"
        )
    };
    check_warned(
        &service("writes: { key: { header: X-Tenant } }"),
        "`key` has an effect only with `to: home`",
    );
    check_warned(
        &service("writes: { failover: none }"),
        "`failover` has an effect only with",
    );
    check_refused(
        &service("dns: { ttl: 5s, ttl_min: 10s }"),
        "is longer than ttl",
    );
    check_warned(
        &service("health: { method: HEAD, expect: { body: ok } }"),
        "an answer to HEAD has no body",
    );
    for key in [
        "path: /up",
        "host: a.example",
        "method: HEAD",
        "expect: { body: ok }",
    ] {
        let name = key.split(':').next().unwrap();
        check_warned(
            &service(&format!("health: {{ protocol: tcp, {key} }}")),
            &format!("`{name}` has no effect with `protocol: tcp`"),
        );
    }
    check_warned(&service("consistency: { wait: 1s }"), "does nothing");
    check_warned(&service("dns: { ttl: 5m }"), "a TTL of 5m");
}

#[test]
fn values_that_cannot_be_are_refused() {
    check_refused(&with("node: { location: [95, 200] }"), "latitude");
    check_refused(
        &with("listen: { timeouts: { idle: 200000000000000d } }"),
        "too long",
    );
    check_refused(
        &with("listen: { https: [\"127.0.0.1:8443\"], admin: \"127.0.0.1:8443\" }"),
        "is listened on for two protocols",
    );
    let service = |more: &str| {
        format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com], {more} }} }}\n"
        )
    };
    let steering = |more: &str| service(&format!("steering: {{ overrides: [{more}] }}"));
    check_refused(
        &steering("{ country: [UK], prefer: [us-east-1] }"),
        "did you mean `GB`?",
    );
    check_refused(
        &steering("{ country: [], prefer: [us-east-1] }"),
        "`country` of an override is empty",
    );
    let residency = |allow: &str| {
        service(&format!(
            "residency: {{ by: client_country, allow: {{ {allow} }} }}"
        ))
    };
    check_refused(&residency("eu: [us-east-1]"), "`eu` is not a country");
    check_refused(&residency("DE: []"), "allows no region");
    check_refused(
        &service("health: { expect: { status: [] } }"),
        "`status` is empty, so no answer would pass",
    );
    check_refused(
        &with("keys: [{ id: 0, secret: 0123456789abcdef }]"),
        "keys.id: this is not a whole number from 1 to 255",
    );
    check_refused(&with("node: { name: \"${}\" }"), "`${}` names no variable");
    check_refused(
        &service("health: { host: \"*.example.com\" }"),
        "is a wildcard",
    );
    check_refused("<<: 5\n", "merges a map");
}

#[test]
fn a_name_of_dots_alone_is_a_way_up_in_a_path_and_refused() {
    for name in [".", ".."] {
        check_refused(
            &format!(
                "regions: {{ {name}: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com] }} }}\n"
            ),
            &format!("`{name}` is not a name"),
        );
    }
}

#[test]
fn a_listener_s_address_is_told_as_it_would_be_right() {
    for (given, right) in [
        (":80", "write 0.0.0.0:80 for every IPv4 address, [::]:80"),
        ("::1:80", "write [::1]:80"),
        ("::1", "such as 0.0.0.0:53 or [::]:53"),
        ("example:80", "such as 0.0.0.0:53 or [::]:53"),
    ] {
        check_refused(&with(&format!("listen: {{ http: [\"{given}\"] }}")), right);
    }
}

#[test]
fn a_value_that_is_none_is_told_once() {
    for more in [
        "steering: { overrides: [{ network: 10.0.0.1/8, prefer: [us-east-1] }] }",
        "steering: { overrides: [{ country: JP, prefer: [us-east-1] }] }",
        "steering: { overrides: [{ country: [JP], prefer: us-east-1 }] }",
        "residency: { by: { header: X }, allow: { eu: us-east-1 } }",
        "writes: { to: home, key: { header: \"A b\" } }",
        "writes: { to: home, key: X-Tenant }",
    ] {
        let yaml = format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com], {more} }} }}\n"
        );
        let said = load(&yaml).unwrap_err();
        assert_eq!(said.iter().count(), 1, "{more}: {said}");
    }
}

#[test]
fn labels_of_residency_that_differ_in_case_alone_name_both_places() {
    let yaml = "regions: { us-east-1: { addresses: [192.0.2.1] } }
services:
  www:
    hosts: [www.example.com]
    residency:
      by: { header: X-Jurisdiction }
      allow:
        eu: [us-east-1]
        EU: [us-east-1]
";
    let said = load(yaml).unwrap_err().to_string();
    assert!(said.contains("edge.yaml:9:9: `EU` is here twice"), "{said}");
    assert!(said.contains("edge.yaml:8:9: first here"), "{said}");
}

#[test]
fn headers_of_the_access_log_are_few_and_no_secrets() {
    let log = |keys: &str| with(&format!("access_log: {{ to: stdout, {keys} }}"));
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("X-{number}")).collect();
        log(&format!("request_headers: [{}]", names.join(", ")))
    };
    assert!(load(&many(32)).is_ok());
    check_refused(&many(33), "at most 32 headers are logged");
    check_refused(&log("response_headers: [X-A, x-a]"), "`x-a` appears twice");
    check_warned(
        &log("request_headers: [Cookie]"),
        "`Cookie` may bear a secret: its value is logged as REDACTED",
    );
}

#[test]
fn an_access_log_says_where_it_goes_and_how_much() {
    let log = |keys: &str| load(&with(&format!("access_log: {{ {keys} }}")));
    let plan = log("to: stdout").unwrap().plan;
    let shown = format!("{:?}", plan.access_log.unwrap());
    for part in ["Stdout", "Share(1.0)", "Redacted", "request_headers: []"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(load(&with("")).unwrap().plan.access_log.is_none());
    let refused = |keys: &str, says: &str| {
        let said = log(keys).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    };
    refused("sample: 10%", "`to`");
    refused("to: stdout, sample: 101%", "101%");
    refused("to: stdout, query: redact", "did you mean `redacted`?");
    refused(
        "to: stdout, request_header: [A]",
        "did you mean `request_headers`?",
    );
    refused(
        "to: stdout, request_headers: ['a b']",
        "`a b` is not the name of a header",
    );
}

#[test]
fn the_proxy_protocol_is_spelled_as_it_is_read() {
    use meridian::config::plan::ProxyHeader;
    use meridian::proxy_protocol::Version;
    let listen = |keys: &str| load(&with(&format!("listen: {{ {keys} }}"))).unwrap();
    let read = |keys: &str| listen(keys).plan.listen.proxy_header;
    assert_eq!(read("trusted_proxies: [10.0.0.0/8]"), ProxyHeader::Optional);
    for (word, expected) in [
        ("off", ProxyHeader::Off),
        ("optional", ProxyHeader::Optional),
        ("required", ProxyHeader::Required),
    ] {
        let keys = format!("trusted_proxies: [10.0.0.0/8], proxy_protocol: {word}");
        assert_eq!(read(&keys), expected);
    }
    check_warned(
        &with("listen: { proxy_protocol: required }"),
        "`proxy_protocol` without `trusted_proxies`",
    );
    check_refused(
        &with("listen: { proxy_protocol: require }"),
        "did you mean `required`?",
    );
    let region = |version: &str| {
        with("").replace(
            "[192.0.2.1]",
            &format!("[192.0.2.1], proxy_protocol: {version}"),
        )
    };
    let wanted = |version: &str| {
        let plan = load(&region(version)).unwrap().plan;
        plan.regions.values().next().unwrap().proxy_protocol
    };
    assert_eq!(wanted("v1"), Some(Version::V1));
    assert_eq!(wanted("v2"), Some(Version::V2));
    check_refused(&region("v3"), "did you mean `v1`?");
}

#[test]
fn services_of_one_domain_are_followed_over_one_path() {
    let two = |one: &str, other: &str| {
        format!(
            "
regions: {{ us: {{ location: [38.95, -77.45], origins: ['http://10.1.0.1:80'] }} }}
services:
  one: {{ hosts: [one.example.com], consistency: {{ read_your_writes: true, domain: d{one} }} }}
  other: {{ hosts: [other.example.com], consistency: {{ read_your_writes: true, domain: d{other} }} }}
"
        )
    };
    let follow = |one: &str, other: &str| {
        let loaded = load(&two(one, other)).unwrap();
        let domains = loaded.plan.domains.values();
        domains
            .map(|domain| domain.follow.as_deref().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(follow("", ""), [None]);
    for (one, other) in [
        (", follow: /a", ""),
        ("", ", follow: /a"),
        (", follow: /a", ", follow: /a"),
    ] {
        assert_eq!(follow(one, other), [Some("/a".to_owned())]);
    }
    check_refused(
        &two(", follow: /a", ", follow: /b"),
        "another service of domain `d` has another `follow`",
    );
    check_refused(&two(", follow: a", ""), "`a`");
}
