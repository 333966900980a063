//! Why a request is turned away, and how that is told.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::caller::Who;
use super::writes::error;

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
    /// Who it is, if that is known.
    pub(super) known: Option<Who>,
    /// After how many seconds trying again makes sense.
    pub(super) retry_after_secs: Option<u64>,
}

impl Denied {
    /// Who is turned away.
    pub(super) fn who(&self) -> Who {
        self.known.clone().unwrap_or(Who::Anybody)
    }
}

/// Without a time to wait for.
pub(super) const fn denied(status: StatusCode, why: &'static str) -> Denied {
    Denied {
        status,
        why,
        known: None,
        retry_after_secs: None,
    }
}

impl Denied {
    /// The answer, to a request that may leave a body unread.
    pub(super) fn answer(self, leaves_a_body: bool) -> Response {
        let mut answer = self.into_response();
        if leaves_a_body {
            // RFC 9112 §9.6: who is not told would send the next request into a connection that has ended.
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        answer
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = error(self.status, self.why).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names how to do better.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
