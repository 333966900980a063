//! Prometheus text, and what every metric means.

use std::sync::Arc;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::recorder::{Counters, PerCoreRecorder};

/// The process's numbers.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    counters: Arc<Counters>,
}

/// Why the process's metrics cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum NotInstalled {
    /// The bounds of histograms are none.
    #[error(transparent)]
    Bounds(#[from] BuildError),
    /// Once a process.
    #[error("somebody else has taken over the process's metrics already")]
    Taken,
}

/// Every metric: name, kind, what it counts. The documentation's table is held to this list.
const DESCRIPTIONS: &[(&str, Kind, &str)] = &[
    (
        "meridian_build_info",
        Kind::Gauge,
        "Always 1; the version is a label",
    ),
    (
        "meridian_config_generation",
        Kind::Gauge,
        "Configurations taken over since the start",
    ),
    (
        "meridian_config_last_reload_successful",
        Kind::Gauge,
        "1 if the last reload was taken over, else 0",
    ),
    (
        "meridian_trouble",
        Kind::Gauge,
        "1 while there is something to mend although all goes on, by kind, else 0",
    ),
    (
        "meridian_dns_queries_total",
        Kind::Counter,
        "DNS queries by transport",
    ),
    (
        "meridian_dns_responses_total",
        Kind::Counter,
        "DNS responses by transport and code",
    ),
    (
        "meridian_dns_dropped_total",
        Kind::Counter,
        "DNS messages that got no response, by transport and reason",
    ),
    (
        "meridian_dns_cookies_total",
        Kind::Counter,
        "DNS cookies of clients by transport and what they showed",
    ),
    (
        "meridian_dns_slipped_total",
        Kind::Counter,
        "DNS responses over the rate limit that were sent as reminders, by transport",
    ),
    (
        "meridian_dns_refused_connections_total",
        Kind::Counter,
        "DNS connections that were not taken, by transport and reason",
    ),
    (
        "meridian_dns_ended_connections_total",
        Kind::Counter,
        "DNS connections that ended, by transport and reason",
    ),
    (
        "meridian_dns_steered_answers_total",
        Kind::Counter,
        "Steered answers by service, region and the rule that decided",
    ),
    (
        "meridian_http_responses_total",
        Kind::Counter,
        "Answers of origins by service, region and class of status",
    ),
    (
        "meridian_http_first_byte_seconds",
        Kind::Histogram,
        "Time from a request's head to the first byte of its origin's answer, by region",
    ),
    (
        "meridian_http_problems_total",
        Kind::Counter,
        "Answers that the edge made itself, by problem",
    ),
    (
        "meridian_http_retries_total",
        Kind::Counter,
        "Requests sent again after something of them had been sent",
    ),
    (
        "meridian_http_hedges_total",
        Kind::Counter,
        "Requests that were sent to a second region because the first had not answered",
    ),
    (
        "meridian_reads_total",
        Kind::Counter,
        "Reads that came with a token, by service, region, class of status and how they were served",
    ),
    (
        "meridian_read_wait_seconds",
        Kind::Histogram,
        "Time that reads waited for a region to have their client's writes, whatever came of it, by region",
    ),
    (
        "meridian_token_rejected_total",
        Kind::Counter,
        "Tokens that counted as absent, by reason",
    ),
    (
        "meridian_token_oversized_total",
        Kind::Counter,
        "Tokens that did not fit and became pins",
    ),
    (
        "meridian_lost_entries_total",
        Kind::Counter,
        "Entries of tokens that no region has any more, of which a client was told, by the region that wrote",
    ),
    (
        "meridian_position_rejected_total",
        Kind::Counter,
        "Positions of regions that were ignored, by where they came from and by reason",
    ),
    (
        "meridian_waits_refused_total",
        Kind::Counter,
        "Reads that did not wait because too many waited for the region, by domain and region",
    ),
    (
        "meridian_follow_polls_total",
        Kind::Counter,
        "Long polls of origins by domain, region and result: news, nothing or failed",
    ),
    (
        "meridian_replication_lag_seconds",
        Kind::Gauge,
        "How long this edge has known the oldest write of the writer that the region lacks",
    ),
    (
        "meridian_replication_lag_positions",
        Kind::Gauge,
        "How many positions of the writer the region lacks; NaN: they are in different epochs",
    ),
    (
        "meridian_tls_handshakes_failed_total",
        Kind::Counter,
        "TLS handshakes of clients that failed or took too long",
    ),
    (
        "meridian_proxy_headers_total",
        Kind::Counter,
        "PROXY headers of trusted proxies by result; malformed, missing and late ones end their connection",
    ),
    (
        "meridian_log_lines_dropped_total",
        Kind::Counter,
        "Lines of the edge's own log that whoever reads it did not take in time",
    ),
    (
        "meridian_access_log_lines_total",
        Kind::Counter,
        "Lines of the access log by outcome: written, dropped (no room) or failed (not written)",
    ),
    (
        "meridian_http_connections",
        Kind::Gauge,
        "Open connections of clients over https and http",
    ),
    (
        "meridian_http_connections_refused_total",
        Kind::Counter,
        "Connections of clients that were closed at once, by the limit that they were over",
    ),
    (
        "meridian_http2_floods_total",
        Kind::Counter,
        "HTTP/2 connections of clients that were ended for a flood of frames",
    ),
    (
        "meridian_health_checks_total",
        Kind::Counter,
        "Probes by service, region and result: pass or fail",
    ),
    (
        "meridian_health_check_seconds",
        Kind::Histogram,
        "Time that probes took, by region and result: pass or fail",
    ),
    (
        "meridian_latency_samples_total",
        Kind::Counter,
        "Round trips of clients by source and result: counted, implausible, apart, too_often or full",
    ),
    (
        "meridian_latency_networks",
        Kind::Gauge,
        "Networks of clients of which round trips are remembered",
    ),
    (
        "meridian_ejections_total",
        Kind::Counter,
        "Origins ejected for what traffic showed, by service, region and cause",
    ),
    (
        "meridian_ejections_spared_total",
        Kind::Counter,
        "Origins that were not ejected because too little would be left, by service, region and rule",
    ),
    (
        "meridian_admin_status_renderings_total",
        Kind::Counter,
        "Times that the status was made for those who asked for it, once for all who waited",
    ),
    (
        "meridian_region_healthy",
        Kind::Gauge,
        "1 unless the region's health for the service is unhealthy, whether drained or not; else 0",
    ),
    (
        "meridian_region_drained",
        Kind::Gauge,
        "1 if a drain keeps all new clients of the service from the region, else 0",
    ),
    (
        "meridian_region_forced",
        Kind::Gauge,
        "1 if an operator has forced the region up or down for the service, else 0",
    ),
    (
        "meridian_service_able_regions",
        Kind::Gauge,
        "Regions of the service that are neither unhealthy nor drained; 0: it fails open or is not answered",
    ),
    (
        "meridian_region_round_trip_seconds",
        Kind::Gauge,
        "Round trip from this edge in seconds, measured or modelled",
    ),
];

/// Bounds of histograms, s: what probes and waits take.
const SECONDS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

/// What a metric counts.
pub(super) fn help(name: &str) -> &'static str {
    let mut known = DESCRIPTIONS.iter();
    known
        .find(|(known, ..)| *known == name)
        .map_or("", |(.., help)| help)
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metrics {
    /// Takes over the process's metrics; once a process.
    pub fn install() -> Result<Self, NotInstalled> {
        let (metrics, recorder) = Self::build()?;
        metrics::set_global_recorder(recorder).map_err(|_| NotInstalled::Taken)?;
        describe();
        metrics::gauge!("meridian_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(metrics)
    }

    /// Metrics of nobody else: several edges in one process, in tests.
    pub fn detached() -> Self {
        Self {
            handle: PrometheusBuilder::new().build_recorder().handle(),
            counters: Arc::default(),
        }
    }

    fn build() -> Result<(Self, PerCoreRecorder), BuildError> {
        let prometheus = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .build_recorder();
        let metrics = Self {
            handle: prometheus.handle(),
            counters: Arc::default(),
        };
        let recorder = PerCoreRecorder {
            counters: metrics.counters.clone(),
            prometheus,
        };
        Ok((metrics, recorder))
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        self.counters.tell();
        self.handle.render()
    }

    /// Bounds the memory of histograms; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Says what every metric means.
pub fn describe() {
    for (name, kind, help) in DESCRIPTIONS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}
