//! Whether whoever follows the events may still see them: a reload may have taken their token away.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::access::bearer;
use super::state::AdminState;
use crate::config::plan::{AdminAccess, Plan, TokenDigest};

/// The right of one follower.
pub(super) struct Right {
    state: Arc<AdminState>,
    shown: Option<TokenDigest>,
    /// The Plan that has granted it last.
    granted_by: Option<Arc<Plan>>,
}

impl Right {
    /// Of whoever has sent these fields, and was let in.
    pub(super) fn of(state: Arc<AdminState>, headers: &HeaderMap) -> Self {
        Self {
            state,
            shown: bearer(headers).map(TokenDigest::of),
            granted_by: None,
        }
    }

    /// Whether it holds under the Plan in force. Costs a comparison of addresses while that is the same.
    pub(super) fn holds(&mut self) -> bool {
        let plan = self.state.snapshot().plan.clone();
        let is_known = |known: &Arc<Plan>| Arc::ptr_eq(known, &plan);
        if self.granted_by.as_ref().is_some_and(is_known) {
            return true;
        }
        let holds = may_see(&plan.admin, self.shown.as_ref());
        self.granted_by = holds.then_some(plan);
        holds
    }
}

/// Every digest is compared, as when it was let in.
fn may_see(admin: &AdminAccess, shown: Option<&TokenDigest>) -> bool {
    let is_known = |shown: &TokenDigest| {
        let tokens = admin.tokens.iter();
        tokens.fold(false, |found, token| (*shown == token.digest) | found)
    };
    admin.is_open_to_readers() || shown.is_some_and(is_known)
}
