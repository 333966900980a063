//! Of the series of `/metrics` those whose labels name what there is: services, regions, domains, and regions of a service
//! that a reload has taken away are told no more, so that nobody is alerted of what is gone. If they come back, they count on.

use std::collections::{HashMap, HashSet};

use crate::config::plan::{Plan, Service};

/// The names that there are.
struct Names<'a> {
    /// With the regions of each.
    services: HashMap<&'a str, HashSet<&'a str>>,
    regions: HashSet<&'a str>,
    domains: HashSet<&'a str>,
}

/// The lines of `text` that are of what the configuration names.
pub(super) fn present(text: &str, plan: &Plan) -> String {
    let names = Names {
        services: plan
            .services
            .values()
            .map(|one| (&*one.name, regions_of(plan, one)))
            .collect(),
        regions: plan.regions.values().map(|one| &*one.name).collect(),
        domains: plan.domains.values().map(|one| &*one.name).collect(),
    };
    let lines = text.split_inclusive('\n');
    lines.filter(|line| names.are_of(line)).collect()
}

fn regions_of<'a>(plan: &'a Plan, service: &Service) -> HashSet<&'a str> {
    let members = service.regions.iter();
    let names = members.map(|member| &*plan.regions.of(member.region).name);
    names.collect()
}

impl Names<'_> {
    fn are_of(&self, line: &str) -> bool {
        let labels = line.split_once('{').filter(|_| !line.starts_with('#'));
        let Some((_, labels)) = labels else {
            return true;
        };
        let regions = match value(labels, "service=\"") {
            Some(service) => self.services.get(service),
            None => Some(&self.regions),
        };
        regions.is_some_and(|regions| {
            [
                ("region=\"", regions),
                ("writer=\"", &self.regions),
                ("domain=\"", &self.domains),
            ]
            .into_iter()
            .all(|(label, names)| value(labels, label).is_none_or(|value| names.contains(value)))
        })
    }
}

/// The value of a label, if it is there. Names have nothing in them that is escaped.
fn value<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    let mut found = labels.match_indices(label);
    let (at, _) = found.find(|(at, _)| {
        *at == 0
            || labels
                .get(..*at)
                .is_some_and(|before| before.ends_with(','))
    })?;
    let rest = labels.get(at + label.len()..)?;
    rest.split_once('"').map(|(value, _)| value)
}
