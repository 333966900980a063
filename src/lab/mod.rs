//! Emulated regions with real asynchronous replication on loopback, and faults on demand.
