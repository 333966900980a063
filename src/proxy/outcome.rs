//! Counts what the edge itself had to answer.

use super::problem::Problem;
use crate::registered::Registered;

static PROBLEMS: Registered<&str, 24> = Registered::new(
    |problem| metrics::counter!("meridian_http_problems_total", "problem" => *problem),
);

/// Counts a problem by its kind.
pub(super) fn count_problem(problem: &Problem) {
    PROBLEMS.increment(&problem.label());
}
