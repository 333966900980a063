//! Counts what the edge itself had to answer.

use super::problem::Problem;

/// Counts a problem by its kind.
pub(super) fn count_problem(problem: &Problem) {
    metrics::counter!("meridian_http_problems_total", "problem" => problem.label()).increment(1);
}
